from __future__ import annotations

import pytest

from secondlook.readers.checks import MAX_NULS, Checker, id_problem, narrative_problem, shown_id
from secondlook.readers.rows import Row
from secondlook.schema import Case, Reject


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\ufeff", "\u00a0\u2060\u00ad"])
def test_a_narrative_that_shows_nothing_is_empty(text: str) -> None:
    assert "missing or empty" in (narrative_problem(text, 100) or "")


def test_length_is_counted_in_characters() -> None:
    assert narrative_problem("😀" * 100, 100) is None
    assert "more than the 100" in (narrative_problem("😀" * 101, 100) or "")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("Tabs\tand\r\nlines\f\v are text", True),
        ("word " * 100 + "\0" * MAX_NULS, True),
        ("word " * 100 + "\0" * (MAX_NULS + 1), False),
        ("word " * 100 + "\ufffd" * 5, True),
        ("caf\ufffd \x01\x02", False),
        ("\x81\x8d\x8f\x90", False),
        ("secret \ud800", False),
    ],
)
def test_text_and_junk(text: str, good: bool) -> None:
    reason = narrative_problem(text, 10_000)
    assert (reason is None) is good
    assert "secret" not in (reason or "")


def test_ids() -> None:
    assert id_problem("2024/117 é") is None
    assert all(id_problem(case_id) for case_id in ("", "a\nb", "a\x1b", "a\u2028b", "\udcff"))
    assert shown_id("x" * 1000) == "x" * 79 + "…"
    assert shown_id("a\u202eb\n") == r"a\u202eb"


def test_ids_are_stripped_and_belong_to_the_first_case() -> None:
    checker = Checker(100)
    items = [checker.check("f", Row(n, f" a{end}", text, {})) for n, (text, end) in enumerate(TEXTS)]
    assert [type(item) for item in items] == [Reject, Case, Reject]
    assert [item.case_id for item in items] == ["a"] * 3
    assert isinstance(items[2], Reject)
    assert "f:1" in items[2].reason


TEXTS = [("", ""), ("One", "\u200b"), ("Two", "\n")]
