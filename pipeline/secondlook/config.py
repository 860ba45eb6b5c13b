"""Configuration: one small YAML file per job, checked against the models below.

Flags carry paths, configs carry choices. An unknown key is an error that names the nearest known one.
Relative paths are relative to the folder that the command runs in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from secondlook.errors import ConfigError, did_you_mean


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(Strict):
    """Where the corpus lies, where what is prepared from it goes, and what it is.

    Narratives as similar as ``near_duplicate_similarity`` stand on one side of a split. ``nature`` is said
    wherever a figure stands: written or real cases, from where.
    """

    codebook: Path = Path("labels/codebook.yaml")
    annotations: Path = Path("labels/annotations")
    adjudications: Path = Path("labels/adjudications")
    splits: Path = Path("labels/splits.csv")
    prepared: Path = Path("labels/prepared")
    near_duplicate_similarity: Annotated[float, Field(gt=0, le=1)] = 0.5
    nature: str = "narratives whose nature the configuration does not state"


class SplitConfig(Strict):
    """How ``secondlook labels split`` divides the corpus."""

    data: DataConfig = DataConfig()
    seed: int = 0
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    development: Annotated[float, Field(gt=0, lt=1)] = 0.1
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    test_annotators: tuple[str, ...] = ()


class LinearModelConfig(Strict):
    """The linear evidence model: TF-IDF of a passage and of those before it, logistic regression."""

    kind: Literal["linear"] = "linear"
    word_ngrams: tuple[int, int] = (1, 2)
    character_ngrams: tuple[int, int] = (3, 5)
    minimum_groups: Annotated[int, Field(ge=1)] = 2
    maximum_features: Annotated[int, Field(ge=10)] = 40_000
    context_passages: Annotated[int, Field(ge=0, le=5)] = 2
    inverse_regularisation: Annotated[float, Field(gt=0)] = 30.0


class FittingConfig(Strict):
    """How a transformer is fine-tuned.

    A batch holds windows of up to ``batch_tokens`` tokens. The loss of a narrative is the cross-entropy of
    its labels plus ``evidence_weight`` times that of its passages; a passage that is evidence counts
    ``evidence_positive_weight`` times. ``pair_weight`` ranks the members of a minimal pair. ``dropout`` is the
    head's. The embeddings and the first ``frozen_layers`` layers stay as they were pretrained; what they make
    of a window is then worked out once for all epochs. Training stops when the development part has not gained
    for ``patience`` epochs after ``minimum_steps``; a corpus so small that its ``epochs`` hold fewer steps is gone
    through more often. ``folds`` models, each blind to a part of the groups and gone through as often as the one
    of all, give the scores that calibration rests on. ``bfloat16`` null takes it where the processor multiplies in
    it; ``device`` null takes a GPU where there is one.
    """

    epochs: Annotated[int, Field(ge=1, le=100)] = 2
    minimum_steps: Annotated[int, Field(ge=0)] = 900
    patience: Annotated[int, Field(ge=1)] = 3
    folds: Annotated[int, Field(ge=2, le=20)] = 2
    batch_tokens: Annotated[int, Field(ge=64)] = 3072
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    head_learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    freeze_embeddings: bool = True
    frozen_layers: Annotated[int, Field(ge=0)] = 0
    evidence_weight: Annotated[float, Field(ge=0)] = 1.0
    evidence_positive_weight: Annotated[float, Field(gt=0)] = 3.0
    pair_weight: Annotated[float, Field(ge=0)] = 3.0
    bfloat16: bool | None = None
    device: Literal["cpu", "cuda", "mps"] | None = None


class TransformerModelConfig(Strict):
    """The transformer evidence model: windows of whole passages, a score for every passage in its context.

    ``encoder`` is an encoder that comes as a Python package ("all-MiniLM-L6-v2"), a folder that
    ``save_pretrained`` wrote, or a name on a model hub. ``encoder_digest`` is the SHA-256 of its
    ``model.safetensors``; null accepts any. A passage's score is the mean of its tokens' scores, or their
    mean under learnt weights ("attention"). With ``linear`` a linear model is fitted beside it, and its log-odds
    are added to the encoder's passage by passage (see ``secondlook.stacked``).
    """

    kind: Literal["transformer"] = "transformer"
    encoder: str = "all-MiniLM-L6-v2"
    encoder_digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    window_tokens: Annotated[int, Field(ge=16, le=8192)] = 256
    context_tokens: Annotated[int, Field(ge=0, le=4096)] = 80
    passage_pooling: Literal["mean", "attention"] = "mean"
    quantise: bool = True
    fitting: FittingConfig = FittingConfig()
    linear: LinearModelConfig | None = LinearModelConfig()

    @model_validator(mode="after")
    def _context_leaves_room(self) -> Self:
        if self.context_tokens > self.window_tokens // 2:
            raise ValueError("context_tokens may take half of window_tokens at most")
        return self


ModelConfig = Annotated[LinearModelConfig | TransformerModelConfig, Field(discriminator="kind")]


class PoolingConfig(Strict):
    """How passage scores become a narrative score; see ``secondlook.evidence``."""

    kind: Literal["max", "noisy_or", "logsumexp"] = "logsumexp"
    sharpness: Annotated[float, Field(gt=0)] = 3.0


class OperatingPointConfig(Strict):
    """Where a score becomes a flag.

    ``cost_ratio`` V: a missed case costs as much as V needless reads. ``target_recall`` and
    ``target_precision`` V: the best threshold that reached V on out-of-fold predictions.
    """

    rule: Literal["cost_ratio", "target_recall", "target_precision"] = "cost_ratio"
    value: Annotated[float, Field(gt=0)] = 2.0

    @model_validator(mode="after")
    def _targets_are_shares(self) -> Self:
        if self.rule != "cost_ratio" and self.value > 1:
            raise ValueError(f"{self.rule} is a share: its value lies between 0 and 1")
        return self


class TrackingConfig(Strict):
    """Where MLflow keeps runs and models. ``register_as: null`` registers nothing."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str = "secondlook"
    register_as: str | None = "secondlook"


class BootstrapConfig(Strict):
    """How confidence intervals are drawn: resamples of whole groups."""

    resamples: Annotated[int, Field(ge=100)] = 1000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: int = 0


class TrainConfig(Strict):
    """Everything that defines a training run."""

    name: str
    seed: int = 0
    data: DataConfig = DataConfig()
    model: ModelConfig = TransformerModelConfig()
    pooling: PoolingConfig = PoolingConfig()
    operating_points: OperatingPointConfig = OperatingPointConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    tracking: TrackingConfig | None = TrackingConfig()
    workspace: Path = Path("runs/training")
    bundle: Path = Path("models/default")


class SeverityPriority(Strict):
    """The queue's order: expected severity, the mean of the scores weighted by the codebook's severities."""

    kind: Literal["severity"] = "severity"


class AnyModePriority(Strict):
    """The queue's order: the probability that at least one mode holds, as if modes were independent."""

    kind: Literal["any_mode"] = "any_mode"


class SingleModePriority(Strict):
    """The queue's order: the score of one mode."""

    kind: Literal["mode"] = "mode"
    mode: str


PriorityConfig = Annotated[SeverityPriority | AnyModePriority | SingleModePriority, Field(discriminator="kind")]


class ScoreConfig(Strict):
    """Choices of the batch scorer.

    ``date_column`` is the column that says when a case was received: ties go to the older one. ``date_order`` says
    how to read 03/04/2026; null takes such dates for none. Cases received before ``since`` are set aside, with that
    reason. ``top`` is how many cases will be read, not counting copies: so many are on the page and in the workbook;
    null puts all there. ``group_duplicates`` puts a near-duplicate behind the case that it copies.

    ``audit`` cases are drawn at random from those that nobody would read: behind ``top`` or, without it, not
    flagged. They come from ``audit_strata`` bands of the priority, and ``audit_seed`` says which.

    ``join_rows`` makes one case of the rows of a table that follow one another with the same id.

    With ``triage`` the encoder is not asked about narratives that the linear model beside it clears.

    What is done is kept every ``shard_cases`` rows of the input: a run that is stopped loses fewer than that.
    """

    priority: PriorityConfig = SeverityPriority()
    date_column: str | None = None
    date_order: Literal["day_first", "month_first"] | None = None
    since: date | None = None
    top: Annotated[int, Field(ge=1)] | None = None
    group_duplicates: bool = True
    duplicate_similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    audit: Annotated[int, Field(ge=0)] = 0
    audit_strata: Annotated[int, Field(ge=1, le=100)] = 5
    audit_seed: int = 0
    evidence_per_mode: Annotated[int, Field(ge=1, le=50)] = 3
    evidence_minimum_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    page_cases: Annotated[int, Field(ge=1, le=5000)] = 200
    page_narrative_characters: Annotated[int, Field(ge=1000)] = 20_000
    max_characters: Annotated[int, Field(ge=1, le=1_000_000_000)] = 10_000_000
    minimum_known_words: Annotated[float, Field(ge=0, le=1)] = 0.15
    join_rows: bool = False
    triage: bool = False
    shard_cases: Annotated[int, Field(ge=1, le=100_000)] = 256

    @model_validator(mode="after")
    def _since_needs_dates(self) -> Self:
        if self.since and not self.date_column:
            raise ValueError("since needs date_column, the name of the column that says when a case was received")
        return self


class ReviewConfig(Strict):
    """Choices of the reviewers' desk.

    ``double_share`` of the cases goes to two reviewers who do not see each other's decisions; one of the two does
    not see what the model said either in ``unprompted_share`` of them. ``seed`` says which. ``suppress_below`` is the
    count from which patterns across cases are shown, ``page_cases`` how many cases a page of the queue has. A sign-in
    ends after ``idle_minutes`` without a request, and after ``session_hours`` in any case; after ``sign_in_attempts``
    that failed by name, or ``address_attempts`` by address, within ``sign_in_minutes``, further ones are refused: a
    whole office may come from one address. A case that was taken and left alone for ``release_hours`` is free again.
    ``longest_pause_seconds`` between two actions counts as time on a case. ``party_columns`` are the columns that name
    persons: redaction knows them by these.
    """

    double_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    unprompted_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    seed: int = 0
    suppress_below: Annotated[int, Field(ge=1)] = 5
    page_cases: Annotated[int, Field(ge=1, le=500)] = 50
    idle_minutes: Annotated[int, Field(ge=1)] = 30
    session_hours: Annotated[int, Field(ge=1)] = 12
    sign_in_attempts: Annotated[int, Field(ge=1)] = 5
    address_attempts: Annotated[int, Field(ge=1)] = 100
    sign_in_minutes: Annotated[int, Field(ge=1)] = 15
    release_hours: Annotated[float, Field(gt=0)] = 24.0
    longest_pause_seconds: Annotated[int, Field(ge=1)] = 120
    party_columns: tuple[str, ...] = ()


Config = TypeVar("Config", bound=BaseModel)


def load_yaml(path: Path, error: type[Exception] = ConfigError) -> Any:
    """Read a YAML file of plain data.

    Raises:
        error: the file is missing, is not text or is not YAML; says where.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"{path}: cannot be read ({cause})") from None
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise error(f"{path}, {place}: not valid YAML: {getattr(cause, 'problem', cause)}") from None
    except (ValueError, RecursionError) as cause:
        raise error(f"{path}: holds a value that cannot be read ({str(cause)[:80]})") from None


def load_config(path: Path | None, kind: type[Config], given: Mapping[str, Any] | None = None) -> Config:
    """Read a configuration file into its model.

    Args:
        path: the file; None takes the defaults.
        kind: the model.
        given: keys that take the place of the file's; None among them is none.

    Raises:
        ConfigError: names the file, the key and what would fit.
    """
    data = {} if path is None else load_yaml(path)
    chosen = {name: value for name, value in (given or {}).items() if value is not None}
    if data is None or isinstance(data, dict):
        data = (data or {}) | chosen
    return parse(path or Path("options"), data, kind, ConfigError)


def parse(path: Path, data: Any, kind: type[Config], error: type[Exception]) -> Config:
    """Check plain data against a model, with every problem in one message.

    Raises:
        error: one line a problem: the file, the key, what is wrong.
    """
    if not isinstance(data, dict):
        raise error(f"{path}: expected a mapping of keys to values, found {type(data).__name__}")
    try:
        return kind.model_validate(data)
    except ValidationError as cause:
        raise error("\n".join(f"{path}: {_explain(problem, kind)}" for problem in cause.errors())) from None


def _explain(problem: Any, kind: type[BaseModel]) -> str:
    # In a union, pydantic puts the kind that the data chose into the place; the file has no such key.
    known, keys = _keys_at(kind, problem["loc"])
    place = ".".join(keys)
    if problem["type"] == "union_tag_not_found":
        kinds = [f"kind: {name}" for name in _kinds_at(kind, keys)]
        return f"key '{place}': needs a key 'kind', one of {', '.join(kinds)}"
    if problem["type"] != "extra_forbidden":
        what = problem["msg"].removeprefix("Value error, ")
        return f"key '{place}': {what}" if place else what
    hint = did_you_mean(keys[-1], known)
    return f"unknown key '{place}'{hint}; known keys here: {', '.join(known)}"


def _keys_at(kind: type[BaseModel], loc: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """The keys that the (possibly nested) model around ``loc`` knows, and ``loc`` as the file spells it."""
    around, current = [kind], [kind]
    keys: list[str] = []
    for part in loc:
        fields = {name: field for model in current for name, field in model.model_fields.items()}
        chosen = [model for model in current if _is_kind(model, part)]
        if chosen and len(current) > 1:  # a kind may be called as a key of another
            current = chosen
        elif part in fields:
            keys.append(str(part))
            around, current = current, _models_in(fields[str(part)].annotation)
        else:  # a place in a list, or a key that nobody knows
            keys.append(str(part))
            around = current
    return sorted({name for model in around for name in model.model_fields}), keys


def _kinds_at(kind: type[BaseModel], keys: Sequence[str]) -> list[str]:
    """The kinds that the models at a place can be, in their order."""
    models: list[type[BaseModel]] = [kind]
    for key in keys:
        fields = [model.model_fields[key] for model in models if key in model.model_fields]
        models = [model for field in fields for model in _models_in(field.annotation)]
    return [str(model.model_fields["kind"].default) for model in models if "kind" in model.model_fields]


def _is_kind(model: type[BaseModel], part: int | str) -> bool:
    return "kind" in model.model_fields and model.model_fields["kind"].default == part


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models inside an annotation such as ``tuple[Mode, ...]`` or ``Tracking | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
