from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.schema import Case, Evidence, Span
from secondlook.shelf import Shelf

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
CASES = st.builds(
    Case, TEXTS, TEXTS, st.dictionaries(TEXTS, st.none() | TEXTS, max_size=3), TEXTS, st.integers(1, 10**9)
)
FOUND = st.lists(
    st.builds(Evidence, TEXTS, st.builds(Span, st.integers(0), st.integers(0)), st.floats(0, 1)), max_size=3
)


@given(st.lists(st.tuples(CASES, FOUND.map(tuple)), min_size=1, max_size=6), st.data())
@settings(deadline=None)
def test_every_case_comes_back_in_the_order_asked_for(
    items: list[tuple[Case, tuple[Evidence, ...]]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder, Shelf(Path(folder)) as shelf:
        for case, evidence in items:
            shelf.add(case, evidence)
        numbers = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=8))
        assert shelf.get(numbers) == [items[number] for number in numbers]


def test_nothing_of_it_is_seen(tmp_path: Path) -> None:
    with Shelf(tmp_path) as shelf:
        shelf.add(Case("a", "x" * 100_000), ())
        assert not list(tmp_path.iterdir())
