"""Near-duplicate narratives, found by MinHash (datasketch; Broder 1997) over word shingles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from datasketch import MinHash, MinHashLSH

from secondlook.text import words

SHINGLE_WORDS = 4
PERMUTATIONS = 128


def near_duplicates(texts: Sequence[str], similarity: float = 0.5) -> Iterator[tuple[int, int, float]]:
    """Pairs of texts whose shingles overlap: ``(i, j, estimated Jaccard similarity)``, i < j, in order.

    >>> text = "He told her to wait in the car while he went in to see the sergeant on duty that night."
    >>> [(i, j) for i, j, _ in near_duplicates([text, "Something else altogether was said.", text + " Then left."])]
    [(0, 2)]
    """
    index = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS)
    sketches = [_sketch(text) for text in texts]
    for number, sketch in enumerate(sketches):
        for other in sorted(index.query(sketch)):
            estimate = sketches[other].jaccard(sketch)
            if estimate >= similarity:
                yield other, number, float(estimate)
        index.insert(number, sketch)


def _sketch(text: str) -> MinHash:
    tokens = words(text)
    shingles = {" ".join(tokens[i : i + SHINGLE_WORDS]) for i in range(max(1, len(tokens) - SHINGLE_WORDS + 1))}
    sketch = MinHash(num_perm=PERMUTATIONS, seed=1)
    sketch.update_batch([shingle.encode() for shingle in sorted(shingles)])
    return sketch
