from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from secondlook import pages
from secondlook.codebook import Codebook, Mode
from secondlook.page import PageFacts, PagePlace
from secondlook.pages import ListLine, write_list, write_pages
from secondlook.schema import Case, ScoredCase

CODEBOOK = Codebook(name="t", version="1", modes=(Mode(id="told", title="Told", definition="-"),))
TEXT = "I wrote to the desk. Nobody answered me for a week."


def _case(rank: int, **changes: object) -> ScoredCase:
    case = ScoredCase(Case(f"C-{rank}", TEXT), rank, 1 / rank, {"told": 0.9}, {"told": (0.8, 0.95)}, {"told": True}, ())
    return replace(case, **changes)  # type: ignore[arg-type]


def _facts(scored: int, shown: int | None = None) -> PageFacts:
    return PageFacts("default", "ab" * 32, scored, 0, 1000, shown=shown)


class _Links(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.ids: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a":
            self.hrefs.append(values["href"] or "")
        if values.get("id"):
            self.ids.append(str(values["id"]))


def _write(folder: Path, count: int, size: int) -> list[Path]:
    write_pages(
        folder,
        (_case(rank) for rank in range(1, count + 1)),
        CODEBOOK,
        _facts(count, count),
        range(1, count + 1, size),
        size,
    )
    lines = (
        ListLine(rank, f"C-{rank}", 1 / rank, (True,), (rank - 1) // size + 1, copy=False, drawn=False)
        for rank in range(1, count + 1)
    )
    write_list(folder, lines, count, CODEBOOK, _facts(count, count))
    return sorted(folder.rglob("*.html"))


def test_every_case_is_on_one_page_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    paths = _write(tmp_path, 23, 5)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "pages/list-001.html", *(f"pages/queue-{number:05d}.html" for number in range(2, 6)), "queue.html",
    ]  # fmt: skip
    found = {path: _Links(path) for path in paths}
    cases = [own for links in found.values() for own in links.ids if re.fullmatch(r"case-\d+", own)]
    assert sorted(cases) == sorted(f"case-{rank}" for rank in range(1, 24))
    for path, links in found.items():
        for href in links.hrefs:
            name, _, anchor = href.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), href
            assert not anchor or anchor in found[target].ids, href
    assert sum("#case-" in href for href in found[tmp_path / "pages/list-001.html"].hrefs) == 23


def test_a_queue_that_fits_on_a_page_is_one_file(tmp_path: Path) -> None:
    write_pages(tmp_path, [_case(1)], CODEBOOK, _facts(1), [1], 5)
    assert [path.name for path in tmp_path.iterdir()] == ["queue.html"]
    assert "page 1 of" not in (tmp_path / "queue.html").read_text(encoding="utf-8")


def test_cases_are_taken_a_page_at_a_time(tmp_path: Path) -> None:
    def cases() -> Iterator[ScoredCase]:
        for rank in range(1, 31):
            # When the 21st is asked for, the first two pages are on the disk.
            assert len(list(tmp_path.rglob("*.html"))) >= (rank - 1) // 10
            yield _case(rank)

    write_pages(tmp_path, cases(), CODEBOOK, _facts(30, 30), [1, 11, 21], 10)


def test_the_list_goes_on_in_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LIST_LINES", 4)
    _write(tmp_path, 10, 5)
    lists = [_Links(tmp_path / f"pages/list-00{number}.html") for number in (1, 2, 3)]
    assert [sum("#case-" in href for href in own.hrefs) for own in lists] == [4, 4, 2]
    assert "list-003.html" in lists[0].hrefs


def test_a_case_that_is_on_no_page_is_listed_without_a_link(tmp_path: Path) -> None:
    lines = [ListLine(1, "<i>=1\u202e", 0.5, (False,), 0, copy=False, drawn=False)]
    write_list(tmp_path, lines, 1, CODEBOOK, _facts(1, 0))
    html = (tmp_path / "pages/list-001.html").read_text(encoding="utf-8")
    assert "&lt;i&gt;=1⟦U+202E⟧" in html
    assert "#case-" not in html
    assert "default-src &#39;none&#39;" in html


def test_a_copy_names_its_original_and_says_what_only_it_says(tmp_path: Path) -> None:
    copy = _case(2, duplicate_of="C-1", similarity=0.9, case=Case("C-2", TEXT + " He was told of it."),
                 explanation="Read as copy of C-1 (similarity 0.90)")  # fmt: skip
    same = _case(3, duplicate_of="C-1", similarity=1.0, case=Case("C-3", TEXT.upper()))
    write_pages(tmp_path, [_case(1), copy, same], CODEBOOK, _facts(3, 3), [1, 3], 2)
    first = (tmp_path / "queue.html").read_text(encoding="utf-8")
    assert re.findall(r'<ul class="only">\s*<li dir="auto">(.*?)</li>\s*</ul>', first) == ["He was told of it."]
    assert 'href="#case-1"' in first
    second = (tmp_path / "pages/queue-00002.html").read_text(encoding="utf-8")
    assert "It has every sentence of this one." in second
    assert 'href="#case-1"' not in second
    assert "C-1" in second


def test_the_bytes_depend_on_the_arguments_only(tmp_path: Path) -> None:
    one, other = (
        [path.read_bytes() for path in _write(tmp_path / name, 12, 5)]
        for name in ("a", "b")
        if not (tmp_path / name).mkdir()
    )
    assert one == other


@pytest.mark.parametrize(
    ("number", "total", "near"),
    [
        (1, 1, [1]),
        (1, 3, [1, 2, 3]),
        (1, 9, [1, 2, 3, 0, 9]),
        (5, 9, [1, 0, 3, 4, 5, 6, 7, 0, 9]),
        (9, 9, [1, 0, 7, 8, 9]),
    ],
)
def test_links_lead_to_the_ends_and_around(number: int, total: int, near: list[int]) -> None:
    assert PagePlace(number, range(1, total + 1)).near == near
