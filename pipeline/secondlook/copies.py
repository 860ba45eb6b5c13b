"""Copies: which cases of a queue say the same, so that a reviewer reads one of them.

A narrative leaves a signature of fixed size while it streams by (MinHash, Broder 1997, by datasketch); signatures
propose copies (locality-sensitive hashing: Leskovec, Rajaraman and Ullman 2014, section 3.4), and the texts of those
few are then compared exactly. Unlike :func:`secondlook.duplicates.near_duplicates`, nothing here holds the texts.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from secondlook.duplicates import PERMUTATIONS, shingles

if TYPE_CHECKING:
    from datasketch import MinHash

FOUND = 0.99
"""Of the pairs that are exactly as similar as asked for, this share is proposed; of more similar ones, more."""

MOST_ORIGINALS = 64
"""So many originals are kept of those that share a bucket: else all forms of one boilerplate would be compared."""

MOST_COMPARED = 8
"""The originals whose texts one case is compared with: the likeliest by their signatures."""

_MARGIN = 0.15
"""Three standard errors of the similarity that 128 permutations estimate."""

_CHUNK = 10_000

Signature = NDArray[np.uint32]


@dataclass(frozen=True)
class Copies:
    """Who is a copy of whom.

    ``original`` is the place of the case that one copies, its own where it is none; ``similarity`` their Jaccard
    similarity, 1 where it is none. *Shape of both:* ``(cases,)``.
    """

    original: NDArray[np.int64]
    similarity: NDArray[np.float64]


def signature(text: str) -> Signature:
    """What is kept of a text to find its copies; all ones for one too short to be a copy. *Shape:* ``(128,)``."""
    sketch = _empty().copy()
    rest = _encoded(text)
    while chunk := list(islice(rest, _CHUNK)):  # a book at once would take a gigabyte
        sketch.update_batch(chunk)
    return np.asarray(sketch.hashvalues, dtype=np.uint32)


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the shingles of two texts, told apart by 32-bit hashes; 0 where one is too short.

    >>> text = "He told her to wait in the car while he went in to see the sergeant on duty that night."
    >>> similarity(text, text.upper()), round(similarity(text, text + " Then he left."), 2)
    (1.0, 0.85)
    """
    return _jaccard(_hashes(one), _hashes(other))


def find_copies(
    signatures: Signature,
    flags: NDArray[np.bool_],
    order: NDArray[np.int64],
    threshold: float,
    text_of: Callable[[int], str],
) -> Copies:
    """Which cases are copies of one before them.

    Each case in turn becomes a copy of the most similar original before it, or an original itself (the leader
    algorithm, Hartigan 1975): a copy is as similar as ``threshold`` to the very case that is read in its place, and
    never to another copy only. A case with a flag that the original lacks is none: one word may be what matters.

    Args:
        signatures: of the cases. *Shape:* ``(cases, 128)``.
        flags: their flags. *Shape:* ``(cases, modes)``.
        order: the rows of both in the order in which they are read; places in it are what is returned.
        threshold: Jaccard similarity from which on a case is a copy.
        text_of: the narrative of a row; asked for those only that may be copies.
    """
    count = len(order)
    found = Copies(np.arange(count), np.ones(count))
    originals: dict[int, list[int]] = {}

    @lru_cache(maxsize=256)
    def hashes_of(place: int) -> NDArray[np.uint32]:
        return _hashes(text_of(int(order[place])))

    for place, buckets in _shared_buckets(signatures, order, threshold):
        near = np.array(sorted({other for bucket in buckets for other in originals.get(bucket, ())}), np.int64)
        likeness = (signatures[order[near]] == signatures[order[place]]).mean(axis=1)
        likely = [int(near[at]) for at in np.argsort(-likeness, kind="stable") if likeness[at] >= threshold - _MARGIN]
        lacks = flags[order[place]] & ~flags[order[likely]]
        fitting = [other for other, flag in zip(likely, lacks.any(axis=1), strict=True) if not flag][:MOST_COMPARED]
        alike = [(_jaccard(hashes_of(other), hashes_of(place)), -other) for other in fitting]
        best, other = max(alike, default=(0.0, 0))
        if best >= threshold:
            found.original[place], found.similarity[place] = -other, best
            continue
        for bucket in buckets:
            own = originals.setdefault(bucket, [])
            if len(own) < MOST_ORIGINALS:
                own.append(place)
    return found


def _shared_buckets(
    signatures: Signature, order: NDArray[np.int64], threshold: float
) -> Iterator[tuple[int, list[int]]]:
    """The places whose signatures agree with another's in some band, in order, and the buckets they fall into."""
    rows = _band_rows(threshold)
    nothing = _empty().hashvalues.astype(np.uint32)[0]
    readable = np.flatnonzero(signatures[order, 0] != nothing)
    places, buckets = [], []
    for start in range(0, PERMUTATIONS - rows + 1, rows):
        key = np.full(len(readable), start, np.uint64)
        for column in range(start, start + rows):
            key = (key ^ signatures[order[readable], column]) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(32)
        _, inverse, sizes = np.unique(key, return_inverse=True, return_counts=True)
        shared = sizes[inverse] > 1
        places.append(readable[shared])
        buckets.append(key[shared])
    place, bucket = np.concatenate(places), np.concatenate(buckets)
    by_place = np.argsort(place, kind="stable")
    place, bucket = place[by_place], bucket[by_place]
    for one, start, size in zip(*np.unique(place, return_index=True, return_counts=True), strict=True):
        yield int(one), bucket[start : start + size].tolist()


def _band_rows(threshold: float) -> int:
    """The longest bands of signatures with which a pair at the threshold is still found often enough."""
    fits = (rows for rows in range(PERMUTATIONS, 0, -1) if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= FOUND)
    return next(fits, 1)


@cache
def _empty() -> MinHash:
    from datasketch import MinHash  # brings half of SciPy, which only those who make signatures need

    return MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)


def _encoded(text: str) -> Iterator[bytes]:
    return (shingle.encode("utf-8", "backslashreplace") for shingle in shingles(text))


def _hashes(text: str) -> NDArray[np.uint32]:
    return np.unique(np.fromiter((zlib.crc32(shingle) for shingle in _encoded(text)), np.uint32))


def _jaccard(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    either = len(one) + len(other) - both
    return both / either if either else 0.0
