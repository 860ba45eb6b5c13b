"""Learning: which cases would teach the next model most? An order in which variety shows early.

Three orders compete. *Uncertain*: what stands nearest to an operating point first (uncertainty sampling, Lewis and
Gale 1994); intake works that out from the scores. *Diverse*: each case as unlike those before it as can be had cheaply,
which is worked out here. *Random*: what any claim of saving has to beat, and the only one whose decisions
say what the whole queue is like.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.cluster import MiniBatchKMeans
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

Vectors = NDArray[np.float32]

WIDTH = 64
"""Directions that are kept of a case's words."""

MOST_CLUSTERS = 256
CASES_A_CLUSTER = 10
"""A queue is cut into as many clusters as leave so many cases in each, up to :data:`MOST_CLUSTERS`."""

_LONGEST = 20_000
"""Characters of a narrative that are looked at: what it is about shows before."""

_SAMPLE = 5_000
"""Cases from which the directions are learnt."""

_CHUNK = 1_000
_WORDS = 2**16


def diversity_order(narratives: Iterable[str], seed: int = 0) -> NDArray[np.int64]:
    """The order in which each case is unlike those before it. *Shape:* ``(cases,)``, a permutation.

    Cases are clustered by their words; first comes the most typical case of each cluster, the largest cluster first,
    then the second of each, and so on. The time grows with the number of cases only, and of the narratives no more than
    their counted words are held.

    Args:
        narratives: read once, in their order.
        seed: the same gives the same order.
    """
    vectors = case_vectors(narratives, seed)
    return rounds(vectors, seed)


def case_vectors(narratives: Iterable[str], seed: int = 0) -> Vectors:
    """What cases are about: TF-IDF of their words along its main directions (Deerwester et al. 1990), of length 1.

    A narrative without words is all zeros. *Shape:* ``(cases, width)``, the width :data:`WIDTH` at most.
    """
    counted = _counted_words(narratives)
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(counted) if counted.shape[0] else counted
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(weighted.shape[0])[:_SAMPLE])
    width = min(WIDTH, len(rows))
    if not width or not weighted.nnz:
        return np.zeros((weighted.shape[0], 1), np.float32)
    with threadpool_limits(1):  # the sums of several threads would differ from time to time
        _, _, directions = randomized_svd(weighted[rows], width, random_state=seed)
        return cast(Vectors, normalize(np.asarray(weighted @ directions.T, np.float32)))


def rounds(vectors: Vectors, seed: int = 0) -> NDArray[np.int64]:
    """The order of :func:`diversity_order` of cases given as vectors. *Shapes:* ``(cases, width)`` to ``(cases,)``."""
    if len(vectors) < 2:
        return np.arange(len(vectors))
    cluster, distance = _clusters(vectors, seed)
    within = np.lexsort((np.arange(len(vectors)), distance, cluster))
    sizes = np.bincount(cluster)
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(vectors), np.int64)
    place[within] = np.arange(len(vectors)) - starts[cluster[within]]
    return np.lexsort((cluster, -sizes[cluster], place))


def _clusters(vectors: Vectors, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The cluster of each case and its distance from the centre."""
    count = min(MOST_CLUSTERS, -(-len(vectors) // CASES_A_CLUSTER), len(np.unique(vectors, axis=0)))
    with threadpool_limits(1):
        means = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=4096).fit(vectors)
        cluster = means.labels_.astype(np.int64)
    return cluster, np.linalg.norm(vectors - means.cluster_centers_[cluster], axis=1)


def _counted_words(narratives: Iterable[str]) -> csr_matrix:
    counter = HashingVectorizer(n_features=_WORDS, alternate_sign=False, norm=None, dtype=np.float32)
    parts = [counter.transform(texts) for texts in _chunks(narratives)]
    return vstack(parts, format="csr") if parts else csr_matrix((0, _WORDS), dtype=np.float32)


def _chunks(narratives: Iterable[str]) -> Iterator[Sequence[str]]:
    rest = (narrative[:_LONGEST] for narrative in narratives)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
