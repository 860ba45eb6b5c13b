"""The network: a pretrained encoder, and a score and a weight for every token and mode."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

from secondlook.config import PoolingConfig
from secondlook.encoder.windows import NOTHING

_START_LOG_ODDS = -2.5
"""Evidence is rare: an untrained head that says one in thirteen learns at once what matters."""

_IN_BFLOAT16 = "eager"
"""In bfloat16 on CPUs plain products beat the fused kernel (`experiments/benchmarks/cost.py attention`)."""

_MULTIPLIES_IN_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Instructions of x86 and ARM, as PyTorch names them."""

_DROPOUTS = frozenset(
    {"attention_probs_dropout_prob", "attention_dropout", "hidden_dropout_prob", "embedding_dropout", "mlp_dropout"}
)
"""Drawing random masks inside the encoder costs a third of the time; only the head's dropout stays."""


class EvidenceConfig(PreTrainedConfig):
    """What :class:`EvidenceEncoder` is made of.

    Args:
        encoder: the encoder's own configuration, as a dictionary.
        modes: ids in the codebook's order.
        passage_pooling: "mean", or "attention" for learnt weights.
        head_dropout: share of the token states' entries that training leaves out.
    """

    model_type = "secondlook-evidence"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        modes: Sequence[str] = (),
        passage_pooling: str = "mean",
        head_dropout: float = 0.1,
        **others: Any,
    ) -> None:
        self.encoder = encoder or {}
        self.modes = list(modes)
        self.passage_pooling = passage_pooling
        self.head_dropout = head_dropout
        super().__init__(**others)


class EvidenceEncoder(PreTrainedModel):
    """Reads windows, scores tokens. ``save_pretrained`` and ``from_pretrained`` work as with any model.

    Args:
        config: see :class:`EvidenceConfig`.
        encoder: a pretrained encoder; a fresh one of the configuration's shape if not given.
    """

    config_class = EvidenceConfig
    base_model_prefix = "encoder"
    all_tied_weights_keys: dict[str, str] = {}  # noqa: RUF012 (the library's own protocol)

    def __init__(self, config: EvidenceConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.encoder = encoder or AutoModel.from_config(
            AutoConfig.for_model(**config.encoder), attn_implementation=_attention(), **_without_pooler(config.encoder)
        )
        width, modes = self.encoder.config.hidden_size, len(config.modes)
        self.frozen_layers = 0
        self.dropout = nn.Dropout(config.head_dropout)
        self.head = nn.Linear(width, modes)
        self.attention = nn.Linear(width, modes) if config.passage_pooling == "attention" else None
        with torch.no_grad():
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.constant_(self.head.bias, _START_LOG_ODDS)
            if self.attention is not None:
                nn.init.zeros_(self.attention.weight)
                nn.init.zeros_(self.attention.bias)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, groundwork: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scores and weights of tokens.

        Args:
            input_ids: *Shape:* ``(windows, tokens)``.
            attention_mask: 1 for tokens, 0 for padding. *Shape:* ``(windows, tokens)``.
            groundwork: what :meth:`lay_groundwork` made of them, if it is known. *Shape:* ``(windows, tokens, width)``.

        Returns:
            Log-odds and positive weights. *Shape of both:* ``(windows, tokens, modes)``.
        """
        if groundwork is None:
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        else:
            tuned = _with_layers(self.encoder, self._layers()[self.frozen_layers :], _Given())
            states = tuned(inputs_embeds=groundwork, attention_mask=attention_mask).last_hidden_state
        with torch.autocast(states.device.type, enabled=False):  # log-odds of eight bits would calibrate badly
            states = self.dropout(states.float())
            scores = self.head(states)
            if self.attention is None:
                return scores, torch.ones_like(scores)
            return scores, self.attention(states).clamp(-15, 15).exp()

    def longest_window(self) -> int | None:
        """How many tokens the encoder has positions for; None if it does not say."""
        longest: int | None = getattr(self.encoder.config, "max_position_embeddings", None)
        table = getattr(getattr(self.encoder, "embeddings", None), "position_embeddings", None)
        padding = getattr(table, "padding_idx", None)
        # RoBERTa and its kin number positions from after the padding's.
        return longest - padding - 1 if longest and padding is not None else longest

    def freeze(self, embeddings: bool, layers: int) -> None:
        """Leave the table of word embeddings as it is, or all embeddings and the first layers.

        Raises:
            ValueError: the encoder has no layer left to tune, or none that can be told apart.
        """
        self.encoder.get_input_embeddings().requires_grad_(not embeddings)
        if not layers:
            return
        if layers >= len(self._layers()):
            raise ValueError(f"{layers} frozen layers leave none to tune: it has {len(self._layers())}")
        lowest: Any = self.encoder.embeddings
        for module in (lowest, *self._layers()[:layers]):
            module.requires_grad_(False)
        self.frozen_layers = layers

    def lay_groundwork(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """States after the frozen layers, which no training changes. *Shape:* ``(windows, tokens, width)``."""
        embeddings: Any = self.encoder.embeddings
        frozen = _with_layers(self.encoder, self._layers()[: self.frozen_layers], embeddings)
        states: Tensor = frozen(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states

    def _layers(self) -> nn.ModuleList:
        """The layers of BERT and its kin."""
        layers = getattr(getattr(self.encoder, "encoder", None), "layer", None)
        if not isinstance(layers, nn.ModuleList) or not hasattr(self.encoder, "embeddings"):
            raise ValueError("its layers are not built like BERT's and cannot be frozen; set frozen_layers to 0")
        return layers

    def _init_weights(self, module: nn.Module) -> None:
        """Heads are set above, and encoders set themselves."""


def from_pretrained_encoder(
    place: str, modes: Sequence[str], passage_pooling: str, dropout: float
) -> tuple[EvidenceEncoder, str]:
    """A network over a pretrained encoder with fresh heads, and the encoder's tokenizer as JSON.

    Raises:
        OSError, ValueError: there is no encoder at that place, or it has no fast tokenizer.
    """
    from transformers import AutoTokenizer

    config = AutoConfig.from_pretrained(place)
    for name in _DROPOUTS & config.to_dict().keys():
        setattr(config, name, 0.0)
    kind = _without_pooler(config.to_dict())
    encoder = AutoModel.from_pretrained(
        place, config=config, dtype=torch.float32, attn_implementation=_attention(), **kind
    )
    tokenizer = getattr(AutoTokenizer.from_pretrained(place), "backend_tokenizer", None)
    if tokenizer is None:
        raise ValueError(f"{place}: its tokenizer gives no offsets (a fast tokenizer is needed)")
    settings = EvidenceConfig(config.to_dict(), modes, passage_pooling, dropout)
    return EvidenceEncoder(settings, encoder), str(tokenizer.to_str())


def passage_scores(scores: Tensor, weights: Tensor, owners: Tensor, passages: int) -> Tensor:
    """The weighted means of tokens' scores by the passage that owns them.

    Args:
        scores, weights: *Shape:* ``(tokens, modes)``.
        owners: passage numbers. *Shape:* ``(tokens,)``.

    Returns:
        *Shape:* ``(passages, modes)``; ``NOTHING`` for a passage that owns no token.
    """
    shape = (passages, scores.shape[-1])
    total = scores.new_zeros(shape).index_add(0, owners, scores * weights)
    weight = scores.new_zeros(shape).index_add(0, owners, weights)
    return torch.where(weight > 0, total / weight.clamp(min=1e-9), NOTHING)


def pool(scores: Tensor, narrative: Tensor, narratives: int, pooling: PoolingConfig) -> Tensor:
    """:func:`secondlook.evidence.pool` for many narratives at once, differentiable.

    Args:
        scores: log-odds. *Shape:* ``(passages, modes)``.
        narrative: which narrative each passage is of; each has one at least. *Shape:* ``(passages,)``.

    Returns:
        *Shape:* ``(narratives, modes)``.
    """
    shape = (narratives, scores.shape[-1])
    index = narrative[:, None].expand_as(scores)
    if pooling.kind == "noisy_or":
        total = scores.new_zeros(shape).index_add(0, narrative, nn.functional.softplus(scores))
        return torch.where(total > 30, total, torch.log(torch.expm1(total.clamp(1e-30, 30))))
    highest = scores.new_full(shape, -torch.inf).scatter_reduce(0, index, scores, "amax")
    if pooling.kind == "max":
        return highest
    top = highest.detach()
    terms = torch.exp((scores - top[narrative]) * pooling.sharpness)
    return top + torch.log(scores.new_zeros(shape).index_add(0, narrative, terms)) / pooling.sharpness


class _Given(nn.Module):
    """Stands where the embeddings stood, and passes on what is given instead."""

    def forward(self, inputs_embeds: Tensor, **_: Any) -> Tensor:
        return inputs_embeds


def _with_layers(encoder: Any, layers: nn.ModuleList, embeddings: nn.Module) -> Any:
    """The same encoder, sharing its weights, with some of its layers."""
    part, stack = copy.copy(encoder), copy.copy(encoder.encoder)
    stack._modules = {**stack._modules, "layer": layers}
    part._modules = {**part._modules, "encoder": stack, "embeddings": embeddings}
    return part


def multiplies_in_bfloat16(device: str) -> bool:
    """Whether a device ("cpu", "cuda") has instructions for it; emulated, it is many times slower than float32."""
    if device == "cpu":
        abilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older releases do not say
        return any(abilities.get(name) for name in _MULTIPLIES_IN_BFLOAT16)
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _attention() -> str | None:
    """Which attention the encoder runs; None leaves the choice to the library."""
    on_accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
    return _IN_BFLOAT16 if not on_accelerator and multiplies_in_bfloat16("cpu") else None


def _without_pooler(config: dict[str, Any]) -> dict[str, bool]:
    """BERT's relatives have a pooler that is not used here."""
    return {"add_pooling_layer": False} if config.get("model_type") in ("bert", "roberta", "xlm-roberta") else {}
