"""Batches: narratives as tensors, by tokens and not by number, the members of a minimal pair together."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from secondlook.encoder.windows import CONTEXT, Tokens, Window

Array = NDArray[np.float64]
_CHUNK_TOKENS = 2048
"""Windows of like length run together up to this many tokens, padding included."""

_MOST_WHOLE = 2
"""Batches' worth of tokens that a narrative may have and still be read as one, where it must: memory grows with it."""

_Numbered = tuple[Tokens, Tokens, Tensor | None]
"""A window's ids, the batch's passage numbers, and its groundwork."""


@dataclass(frozen=True)
class Example:
    """A narrative, or an excerpt of a long one, as the network reads it.

    ``targets`` and ``labels`` hold 1, 0 or NaN (unknown, masked). *Shapes:* ``(passages, modes)``,
    ``(modes,)``. The members of a minimal pair share the name of their ``pair``. ``groundwork`` is what
    layers that are not tuned made of each window. *Shape of each:* ``(tokens, width)``.
    """

    windows: list[Window]
    targets: Array
    labels: Array
    pair: str | None = None
    groundwork: Sequence[Tensor] | None = None

    @property
    def tokens(self) -> int:
        """How many tokens the network reads of it."""
        return sum(len(window.ids) for window in self.windows)


def excerpts(example: Example, tokens: int) -> list[Example]:
    """A long example in parts that fit a batch.

    A part of a positive narrative is positive where it holds marked evidence. Where none is marked nobody knows which
    part it is: such a narrative stays whole up to twice the size of a batch, and is unknown in parts beyond that.
    """
    unmarked = (example.labels == 1) & ~(example.targets == 1).any(axis=0)
    if unmarked.any() and example.tokens <= _MOST_WHOLE * tokens:
        return [example]
    parts: list[list[Window]] = [[]]
    for window in example.windows:
        if parts[-1] and sum(len(one.ids) for one in parts[-1]) + len(window.ids) > tokens:
            parts.append([])
        parts[-1].append(window)
    if len(parts) == 1:
        return [example]
    return [_excerpt(example, part) for part in parts]


def _excerpt(example: Example, windows: list[Window]) -> Example:
    numbers = np.unique(np.concatenate([window.passages[window.passages != CONTEXT] for window in windows]))
    targets = example.targets[numbers]
    has_evidence = (targets == 1).any(axis=0)
    marked = (example.targets == 1).any(axis=0)
    labels = np.where(example.labels == 1, np.where(marked, has_evidence, np.nan), example.labels)
    renumbered = [
        Window(w.ids, np.where(w.passages == CONTEXT, CONTEXT, np.searchsorted(numbers, w.passages))) for w in windows
    ]
    return Example(renumbered, targets, labels.astype(float))


def collate(examples: Sequence[Example]) -> dict[str, Any]:
    """Examples as tensors, passages and narratives numbered through.

    ``chunks``: windows of like length, padded; each has ``input_ids``, ``attention_mask`` and ``owners``,
    *shape* ``(windows, tokens)``, and where it is known ``groundwork``, *shape* ``(windows, tokens, width)``.
    ``narrative``: of each passage, *shape* ``(passages,)``. ``targets``: *shape* ``(passages, modes)``.
    ``labels``: *shape* ``(narratives, modes)``. ``pairs``: rows of both members, *shape* ``(pairs, 2)``.
    """
    windows: list[_Numbered] = []
    offset = 0
    for example in examples:
        known: Sequence[Tensor | None] = example.groundwork or [None] * len(example.windows)
        windows += [
            (w.ids, np.where(w.passages == CONTEXT, CONTEXT, w.passages + offset), states)
            for w, states in zip(example.windows, known, strict=True)
        ]
        offset += len(example.targets)
    counts = [len(example.targets) for example in examples]
    return {
        "chunks": [_pad(chunk) for chunk in _chunks(sorted(windows, key=lambda window: len(window[0])))],
        "narrative": torch.repeat_interleave(torch.arange(len(examples)), torch.tensor(counts)),
        "targets": torch.tensor(np.concatenate([example.targets for example in examples]), dtype=torch.float32),
        "labels": torch.tensor(np.stack([example.labels for example in examples]), dtype=torch.float32),
        "pairs": _pair_indices(examples),
    }


def _pair_indices(examples: Sequence[Example]) -> Tensor:
    """Rows of the two members of every whole pair. *Shape:* ``(pairs, 2)``."""
    members: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        if example.pair is not None:
            members.setdefault(example.pair, []).append(number)
    return torch.tensor([rows for rows in members.values() if len(rows) == 2], dtype=torch.long).reshape(-1, 2)


def _chunks(windows: Sequence[_Numbered]) -> Iterator[list[_Numbered]]:
    chunk: list[_Numbered] = []
    for window in windows:
        if chunk and (len(chunk) + 1) * len(window[0]) > _CHUNK_TOKENS:
            yield chunk
            chunk = []
        chunk.append(window)
    if chunk:
        yield chunk


def _pad(windows: Sequence[_Numbered]) -> dict[str, Tensor]:
    shape = (len(windows), max(len(ids) for ids, _, _ in windows))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    owners = torch.full(shape, CONTEXT, dtype=torch.long)
    for row, (tokens, passages, _) in enumerate(windows):
        ids[row, : len(tokens)] = torch.from_numpy(tokens)
        mask[row, : len(tokens)] = 1
        owners[row, : len(tokens)] = torch.from_numpy(passages)
    padded = {"input_ids": ids, "attention_mask": mask, "owners": owners}
    known = [states for _, _, states in windows if states is not None]
    return padded | {"groundwork": nn.utils.rnn.pad_sequence(known, batch_first=True).float()} if known else padded


def with_groundwork(examples: Sequence[Example], lay: Callable[[Tensor, Tensor], Tensor]) -> list[Example]:
    """Examples with what ``lay`` makes of their windows, in half precision: it is kept for all epochs."""
    windows = [window for example in examples for window in example.windows]
    order = sorted(range(len(windows)), key=lambda i: len(windows[i].ids))
    states: list[Tensor] = [torch.zeros(0)] * len(windows)
    place = iter(order)
    for chunk in _chunks([(windows[i].ids, windows[i].passages, None) for i in order]):
        padded = _pad(chunk)
        for row in lay(padded["input_ids"], padded["attention_mask"]):
            i = next(place)
            states[i] = row[: len(windows[i].ids)].to("cpu", torch.float16)
    laid = iter(states)
    return [replace(example, groundwork=[next(laid) for _ in example.windows]) for example in examples]


class Batches:
    """A sampler: batches of about as many tokens each, dealt anew in every epoch; pairs stay together.

    ``tokens`` is what a batch has on average. Their number is the same in every epoch.
    """

    def __init__(self, examples: Sequence[Example], tokens: int, seed: int) -> None:
        units: dict[str, list[int]] = {}
        for number, example in enumerate(examples):
            units.setdefault(f"pair {example.pair}" if example.pair else str(number), []).append(number)
        self._units = list(units.values())
        self._sizes = [sum(examples[i].tokens for i in unit) for unit in self._units]
        self._count = max(1, math.ceil(sum(self._sizes) / tokens))
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return min(self._count, len(self._units))

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self._seed, self.epoch)).permutation(len(self._units))
        lightest = [(0, number) for number in range(len(self))]
        batches: list[list[int]] = [[] for _ in lightest]
        for unit in order:
            weight, number = heapq.heappop(lightest)
            batches[number] += self._units[unit]
            heapq.heappush(lightest, (weight + self._sizes[unit], number))
        yield from batches


def by_length(examples: Sequence[Example], tokens: int) -> Iterator[list[int]]:
    """Numbers of examples of like length, up to so many tokens together."""
    order = sorted(range(len(examples)), key=lambda i: examples[i].tokens)
    batch: list[int] = []
    for i in order:
        if batch and sum(examples[j].tokens for j in batch) + examples[i].tokens > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def moved(inputs: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """What :func:`collate` made, on a device."""
    tensors = {name: value.to(device) for name, value in inputs.items() if isinstance(value, Tensor)}
    chunks = [{name: value.to(device) for name, value in chunk.items()} for chunk in inputs["chunks"]]
    return tensors | {"chunks": chunks}
