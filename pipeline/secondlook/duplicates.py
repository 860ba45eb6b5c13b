"""Near-duplicate narratives, found by MinHash (datasketch; Broder 1997) over word shingles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from secondlook.text import words

SHINGLE_WORDS = 4
SHORTEST_WORDS = 8
PERMUTATIONS = 128
PROPOSED_FROM = 0.6


def near_duplicates(texts: Sequence[str], similarity: float = 0.5) -> Iterator[tuple[int, int, float]]:
    """Pairs of texts whose shingles overlap: ``(i, j, Jaccard similarity)``, i < j, in order.

    MinHash proposes pairs well below the similarity asked for, since it misses some near its own
    threshold; the similarity itself is then computed exactly.

    >>> text = "He told her to wait in the car while he went in to see the sergeant on duty that night."
    >>> [(i, j) for i, j, _ in near_duplicates([text, "Something else altogether was said.", text + " Then left."])]
    [(0, 2)]
    """
    from datasketch import MinHash, MinHashLSH  # brings half of SciPy, which others need not wait for

    index = MinHashLSH(threshold=PROPOSED_FROM * similarity, num_perm=PERMUTATIONS)
    sets = [set(shingles(text)) for text in texts]
    for number, own in enumerate(sets):
        if not own:
            continue
        sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
        sketch.update_batch([shingle.encode() for shingle in sorted(own)])
        for other in sorted(index.query(sketch)):
            jaccard = len(own & sets[other]) / len(own | sets[other])
            if jaccard >= similarity:
                yield other, number, jaccard
        index.insert(number, sketch)


def shingles(text: str) -> Iterator[str]:
    """Every run of :data:`SHINGLE_WORDS` words; none of a text too short to be a copy: a dateline recurs everywhere."""
    tokens = words(text)
    if len(tokens) >= SHORTEST_WORDS:
        for start in range(len(tokens) - SHINGLE_WORDS + 1):
            yield " ".join(tokens[start : start + SHINGLE_WORDS])
