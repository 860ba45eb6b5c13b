from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.codebook import Codebook, Mode
from secondlook.page import PALETTE, PageFacts, excerpts, percent, plain, render_queue, segments
from secondlook.schema import Case, Evidence, ScoredCase, Span

CSS = (files("secondlook") / "templates" / "queue.css").read_text(encoding="utf-8")
FACTS = PageFacts("default", "0123456789abcdef", 2, 0, 20_000)
NASTY = [
    "<script>alert(1)</script>",
    "</style></script></textarea><!-- <![CDATA[",
    "\"double\" 'single' `back` &amp; & &#60;",
    "{{ 7 * 7 }} {% for x in y %} {# gone? #}",
    "line\r\nline\rline\n\n\ttab  two blanks ",
    "\n\nblank lines first",
    "عربي then English, family 👩‍👩‍👧",
]


def _codebook(count: int = 2, title: str = "Mode") -> Codebook:
    modes = tuple(Mode(id=f"m{i}", title=f"{title} {i}", definition=f"Meaning of {title}.") for i in range(count))
    return Codebook(name="test", version="1", modes=modes)


def _case(text: str, *evidence: Evidence, flags: tuple[int, ...] = (0,), count: int = 2, **other: object) -> ScoredCase:
    scores = {f"m{i}": 0.9 - i / 100 for i in range(count)}
    case = Case(str(other.get("case_id", "c1")), text, {"Area": str(other.get("area", "North"))})
    interval: tuple[float, float] = other.get("interval", (0.85, 0.95))  # type: ignore[assignment]
    intervals = dict.fromkeys(scores, interval)
    return ScoredCase(case, 1, 0.5, scores, intervals, {f"m{i}": i in flags for i in range(count)}, evidence)


class _Texts(HTMLParser):
    """The text of every element of class ``text``, of every mark, and of the whole page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.narratives: list[str] = []
        self.marks: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self._inside: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if values.get("class") == "text":
            self.narratives.append("")
            self._inside = ["div"]
        elif tag == "mark":
            self.marks.append((values["aria-label"] or "", ""))
            self._inside.append("mark")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.narratives[-1] += data
        if "mark" in self._inside:
            label, text = self.marks[-1]
            self.marks[-1] = (label, text + data)


def _evidence(length: int = 60) -> st.SearchStrategy[list[Evidence]]:
    one = st.builds(
        lambda mode, start, size, share: Evidence(mode, Span(start, start + size), share),
        st.sampled_from(["m0", "m1"]),
        st.integers(0, length),
        st.integers(0, length),
        st.floats(0, 1),
    )
    return st.lists(one, max_size=6)


@given(length=st.integers(0, 60), evidence=_evidence())
def test_segments_tile_the_text_and_carry_the_evidence_that_covers_them(length: int, evidence: list[Evidence]) -> None:
    found = segments(length, evidence)
    assert [place for start, end, _ in found for place in range(start, end)] == list(range(length))
    assert all(start < end for start, end, _ in found)
    for start, end, own in found:
        for place in range(start, end):
            assert list(own) == [item for item in evidence if item.span.start <= place < item.span.end]


@given(text=st.text(alphabet="ab \n", max_size=400), evidence=_evidence(400), limit=st.integers(0, 300))
def test_excerpts_are_ordered_apart_and_bounded(text: str, evidence: list[Evidence], limit: int) -> None:
    shown = excerpts(text, [item for item in evidence if item.span.end <= len(text)], limit)
    assert sum(end - start for start, end in shown) <= limit
    assert all(0 <= start < end <= len(text) for start, end in shown)
    assert all(left.end < right.start for left, right in pairwise(shown))


def test_a_long_narrative_shows_its_beginning_its_evidence_and_what_is_missing() -> None:
    text = "The beginning. " + "word " * 8000 + "Nobody went to see her. " + "word " * 8000
    start = text.index("Nobody")
    evidence = Evidence("m0", Span(start, start + 23), 0.6)
    facts = PageFacts("default", "0" * 64, 1, 0, 2000)
    html = render_queue([_case(text, evidence)], _codebook(), facts)
    page = _Texts(html)
    assert page.narratives[0].startswith("The beginning. ")
    assert page.marks == [("evidence for Mode 0, 60% of the score", "Nobody went to see her.")]
    gaps = [int(count.replace(",", "")) for count in re.findall(r"… ([\d,]+) characters not shown here", html)]
    assert sum(gaps) + sum(map(len, page.narratives)) == len(text)
    assert sum(map(len, page.narratives)) <= 2000


@pytest.mark.parametrize("text", NASTY)
def test_the_narrative_comes_back_as_it_was(text: str) -> None:
    marked = Evidence("m0", Span(1, len(text) - 1), 0.5)
    html = render_queue([_case(text, marked, case_id=text, area=text)], _codebook(title=text), FACTS)
    page = _Texts(html)
    assert page.narratives == [text]
    assert page.tags.count("script") == page.tags.count("style") == 1
    assert "<!--" not in html


@settings(max_examples=50)
@given(text=st.text(min_size=1, max_size=80), evidence=_evidence(80))
def test_any_text_comes_back_with_its_controls_as_codes(text: str, evidence: list[Evidence]) -> None:
    html = render_queue([_case(text, *evidence)], _codebook(), FACTS)
    assert html.encode()
    # Carriage returns are written as references, every other control as a code.
    wanted = "".join(character if character in "\r" else plain(character) for character in text)
    assert _Texts(html).narratives == [wanted]


def test_no_control_reaches_the_page() -> None:
    text = "a\u202eb\u2066c\x00d\x1be\ud800f\x85g\u2028h"
    html = render_queue([_case(text, case_id=text, area=text)], _codebook(title=text), FACTS)
    assert not set(html) & set("\u202e\u2066\x00\x1b\ud800\x85\u2028")
    assert '<span class="code">⟦U+202E⟧</span>' in html
    assert html.encode()


def test_overlapping_evidence_carries_all_its_modes() -> None:
    text = "He was told. Nobody went."
    html = render_queue(
        [_case(text, Evidence("m0", Span(0, 25), 0.7), Evidence("m1", Span(13, 25), 0.4), flags=(0, 1))],
        _codebook(),
        FACTS,
    )
    assert _Texts(html).marks == [
        ("evidence for Mode 0, 70% of the score", "He was told."),
        ("evidence for Mode 0, 70% of the score; evidence for Mode 1, 40% of the score", "Nobody went."),
    ]
    assert "depth2" in html


def test_only_flagged_modes_are_marked() -> None:
    case = _case("One. Two.", Evidence("m0", Span(0, 4), 0.7), Evidence("m1", Span(5, 9), 0.7), flags=(1,))
    assert [text for _, text in _Texts(render_queue([case], _codebook(), FACTS)).marks] == ["Two."]


def test_without_a_flag_the_highest_mode_stands_in_and_says_so() -> None:
    case = _case("One. Two.", Evidence("m0", Span(0, 4), 0.7), Evidence("m1", Span(5, 9), 0.7), flags=())
    html = render_queue([case], _codebook(), FACTS)
    assert _Texts(html).marks == [("evidence for Mode 0 (not flagged), 70% of the score", "One.")]
    assert "No mode is flagged." in html


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "<1%"), (0.004, "<1%"), (0.01, "1%"), (0.5, "50%"), (0.99, "99%"), (0.996, ">99%"), (1.0, ">99%")],
)
def test_a_percent_never_claims_certainty(share: float, text: str) -> None:
    assert percent(share) == text


def test_the_header_counts() -> None:
    html = render_queue([_case("One.")], _codebook(), PageFacts("default", "0123456789abcdef", 1204, 3, 1000))
    for words in (
        "1,204 cases scored",
        "3 rejected: see rejects.csv",
        "1 of 1,204 are here to read; queue.parquet has all",
        "0123456789ab<",
        "they are not findings",
    ):
        assert words in html
    assert "here to read" not in render_queue([_case("One.")], _codebook(), PageFacts("b", "d", 1, 0, 1000))


@pytest.mark.parametrize(("rejected", "says"), [(0, "The input held no cases."), (2, "2 were set aside")])
def test_an_empty_queue_says_what_to_do(rejected: int, says: str) -> None:
    html = render_queue([], _codebook(), PageFacts("default", "0" * 64, 0, rejected, 1000))
    assert says in html
    assert "<article" not in html
    assert 'id="controls"' not in html


def test_there_are_more_modes_than_colours() -> None:
    count = PALETTE + 3
    html = render_queue(
        [_case("One.", Evidence("m10", Span(0, 4), 0.5), flags=(10,), count=count)], _codebook(count), FACTS
    )
    assert f'm{10 % PALETTE} above0" data-key="11"' in html


def test_the_bytes_depend_on_the_arguments_only() -> None:
    case = _case("One. Two.", Evidence("m0", Span(0, 4), 0.7))
    assert render_queue([case], _codebook(), FACTS) == render_queue([case], _codebook(), FACTS)


def test_the_policy_admits_this_style_and_script_and_nothing_else() -> None:
    html = render_queue([_case("One.")], _codebook(), FACTS)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert policy.group(1).startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    for tag in ("style", "script"):
        body = html.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        assert b64encode(sha256(body.encode()).digest()).decode() in policy.group(1)
    assert not re.search(r"\s(style|on\w+|src|srcset)=", re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S))
    assert not re.search(r"https?:|url\(|@import", html)


def test_nothing_on_the_page_moves() -> None:
    rules = re.sub(r"/\*.*?\*/", "", CSS, flags=re.S)
    assert not re.search(r"transition|animation|smooth", rules)


def _palette(dark: bool) -> dict[str, str]:
    block = CSS.split("@media screen and (prefers-color-scheme: dark)")[int(dark)]
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))


def _linear(colour: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    value = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    low, high = sorted(float(_linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_every_pair_of_colours_has_contrast(dark: bool) -> None:
    colour = _palette(dark)
    for ground in ("page", "card"):
        assert _contrast(colour["text"], colour[ground]) >= 7
        assert _contrast(colour["muted"], colour[ground]) >= 4.5
        assert min(_contrast(colour["focus"], colour[ground]), _contrast(colour["edge"], colour[ground])) >= 3
    for slot in range(PALETTE):
        ink, tint = colour[f"ink{slot}"], colour[f"tint{slot}"]
        assert _contrast(colour["text"], tint) >= 7
        assert _contrast(ink, colour["card"]) >= 4.5
        assert _contrast(ink, tint) >= 3


# Machado, Oliveira and Fernandes 2009, severity 1: protanopia, deuteranopia, tritanopia.
SIGHT = [
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
]
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("sight", SIGHT)
def test_inks_differ_in_every_kind_of_sight(
    dark: bool, sight: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> None:
    def lab(colour: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        x, y, z = np.cbrt(np.maximum(TO_XYZ @ np.clip(sight @ _linear(colour), 0, 1) / [0.9505, 1, 1.089], 0.009))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    inks = [lab(_palette(dark)[f"ink{slot}"]) for slot in range(PALETTE)]
    assert min(float(np.linalg.norm(one - other)) for one, other in combinations(inks, 2)) > 6


def test_every_slot_has_its_own_line() -> None:
    lines = re.findall(r"--rule: ([^;]+);", CSS)
    assert len(lines) == len(set(lines)) == PALETTE


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.001), (0.3, 0.8), (0.996, 1.0)])
def test_the_interval_lies_on_its_bar(low: float, high: float) -> None:
    page = render_queue([_case("Told.", interval=(low, high))], _codebook(), FACTS)
    found = re.findall(r'class="range" x="(\d+)" y="1.5" width="(\d+)"', page)
    assert len(found) == 2
    for start, width in ((int(x), int(w)) for x, w in found):
        assert 0 <= start < start + width <= 100
        assert abs(start - low * 100) <= 1.5
