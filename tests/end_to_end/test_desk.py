"""The reviewers' desk in a real browser: the app itself, on a free port of the loopback, and people who work at it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'secondlook[review]'")

from argon2 import PasswordHasher  # noqa: E402
from sqlalchemy import select  # noqa: E402

from secondlook.config import ReviewConfig  # noqa: E402
from secondlook.review import accounts  # noqa: E402
from secondlook.review.app import Access, create_app  # noqa: E402
from secondlook.review.database import Desk, open_desk  # noqa: E402
from secondlook.review.search import add_to_index  # noqa: E402
from secondlook.review.tables import (  # noqa: E402
    Arm,
    CaseRow,
    Decision,
    EvidenceRow,
    FieldRow,
    Mark,
    Review,
    Role,
    Run,
    ScoreRow,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PASSWORD = "a few plain words to come in"
MODES = {
    "information_leaked": "Information leaked",
    "no_welfare_check": "No welfare check",
    "statement_dictated": "Statement dictated",
}
TOLD, UNSEEN, DICTATED = (
    "The desk rang his house and he answered, so that he knew the same evening who had reported him.",
    "For three days nobody went to see whether she was safe.",
    "The officer told me what to write, and I signed what I had not said.",
)
OPENING = "I reported it on Monday, and was given a number. "
CLOSING = " The letter said that the matter was closed, and that I could write again if I was not content."
HOSTILE = (
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> </div></main>"
    "<style>body{display:none}</style> {{ 7 * 7 }} {% raw %} ${7*7} '; DROP TABLE cases; -- "
    "\u202egnp.exe \u2066isolated\u2069 \x00 &lt;b&gt; https://elsewhere.example/x.png ]]> "
)
RIGHT_TO_LEFT = "\u05d4\u05e9\u05d5\u05d8\u05e8 \u05dc\u05d0 \u05d1\u05d0"
MIXED = (
    f"\U0001f600 First line.\r\nHe wrote: {RIGHT_TO_LEFT} \U0001f469\u200d\U0001f469\u200d\U0001f467 and left.\r"
    f"Hidden \u202edirection\u202c and \x00 nothing. e\u0301 is one letter.\n\n{UNSEEN} \U0001f1ec\U0001f1e7 End."
)


@dataclass
class Told:
    """A case to put on the desk: its narrative, and by mode the words that are evidence, with their share."""

    case_id: str
    narrative: str
    evidence: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    arms: tuple[Arm, ...] = (Arm.PROMPTED,)
    copy_of: str | None = None
    drawn: bool = False


def _put(desk: Desk, name: str, cases: list[Told]) -> int:
    """Put cases on the desk as a run, in their order; returns the run's key."""
    with desk.writing() as session:
        modes = [
            {"id": mode, "title": title, "definition": f"Whether {title.lower()}: for tests.", "severity": 1.0}
            for mode, title in MODES.items()
        ]
        run = Run(
            digest=name.encode().hex().ljust(64, "0")[:64], cases_digest="0" * 64, name=name, folder="", bundle_name="default",
            bundle_digest="ab" * 32, config_digest="cd" * 32, codebook={"name": "t", "version": "1", "modes": modes},
            thresholds=dict.fromkeys(MODES, 0.5), cases=len(cases), added_at=datetime.now(UTC),
        )  # fmt: skip
        session.add(run)
        session.flush()
        keys: dict[str, int] = {}
        for rank, told in enumerate(cases, start=1):
            original = keys[told.copy_of] if told.copy_of else None
            if original:
                session.get_one(CaseRow, original).copies += 1
            case = CaseRow(
                run_id=run.id, case_id=told.case_id, digest="0" * 64, rank=rank, priority=round(2 / (rank + 1), 3), uncertainty=0.5,
                explanation=f"Stands here for {', '.join(MODES[m].lower() for m in told.evidence) or 'its place in the sample'}",
                received=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=rank), original_id=original, copies=0,
                drawn_for_audit=told.drawn, audit_stratum=None, inclusion_probability=1.0, file="intake.csv", row=rank + 1,
                narrative=told.narrative, details={"unit": ("north", "south")[rank % 2], "officer": f"PC {100 + rank % 3}"},
                arms=list(told.arms), flagged=sum(1 << place for place, mode in enumerate(MODES) if mode in told.evidence),
            )  # fmt: skip
            session.add(case)
            session.flush()
            keys[told.case_id] = case.id
            session.add_all(
                ScoreRow(
                    case_id=case.id, mode=mode, run_id=run.id, rank=rank, score=0.86 if mode in told.evidence else 0.12,
                    low=0.8 if mode in told.evidence else 0.08, high=0.91 if mode in told.evidence else 0.2, flag=mode in told.evidence,
                )
                for mode in MODES
            )  # fmt: skip
            for mode, (words, share) in told.evidence.items():
                start = told.narrative.index(words)
                session.add(EvidenceRow(case_id=case.id, mode=mode, start=start, end=start + len(words), share=share))
            session.add_all(
                FieldRow(case_id=case.id, name=name_, run_id=run.id, value=value)
                for name_, value in case.details.items()
            )
            add_to_index(session, [(case.id, f"{told.case_id} {told.narrative}")])
        return run.id


def _ordinary(number: int) -> Told:
    words = {
        0: {"information_leaked": TOLD},
        1: {"no_welfare_check": UNSEEN},
        2: {"information_leaked": TOLD, "no_welfare_check": UNSEEN},
    }[number % 3]
    narrative = OPENING + " ".join(words.values()) + f" That was in week {number}." + CLOSING * (1 + number % 3)
    return Told(f"CMP-{number:03d}", narrative, {mode: (text, 0.62) for mode, text in words.items()})


@dataclass
class Served:
    """A desk that is served: where, and what is on it."""

    url: str
    desk: Desk
    config: ReviewConfig
    count: int = 0

    def put(self, cases: list[Told], *people: tuple[str, Role]) -> tuple[int, list[str]]:
        """A new run, with people who may read it; returns its key and their names."""
        self.count += 1
        run = _put(self.desk, f"Run {self.count}", cases)
        names = [f"{name}{self.count}" for name, _ in people]
        with self.desk.writing() as session:
            now = datetime.now(UTC)
            for name, (_, role) in zip(names, people, strict=True):
                accounts.add_user(session, name, role, PASSWORD, now)
                accounts.assign_queue(session, run, name, "system")
        return run, names

    def key(self, run: int, case_id: str) -> int:
        """The key of a case."""
        with self.desk.reading() as session:
            return session.scalars(select(CaseRow.id).where(CaseRow.run_id == run, CaseRow.case_id == case_id)).one()

    def narrative(self, case: int) -> str:
        with self.desk.reading() as session:
            return session.get_one(CaseRow, case).narrative

    def review(self, case: int) -> Review:
        with self.desk.reading() as session:
            return session.scalars(select(Review).where(Review.case_id == case)).one()

    def decisions(self, case: int) -> dict[str, tuple[str, str]]:
        with self.desk.reading() as session:
            rows = session.scalars(
                select(Decision).join(Review, Review.id == Decision.review_id).where(Review.case_id == case)
            )
            return {row.mode: (row.verdict, row.reason) for row in rows}

    def marks(self, case: int) -> list[tuple[str, str]]:
        """The marks of a case: mode, and the words that were marked."""
        text = self.narrative(case)
        with self.desk.reading() as session:
            rows = session.scalars(
                select(Mark)
                .join(Review, Review.id == Mark.review_id)
                .where(Review.case_id == case)
                .order_by(Mark.start)
            )
            return [(row.mode, text[row.start : row.end]) for row in rows]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app, served on a free port of the loopback by a thread."""
    patch = pytest.MonkeyPatch()
    patch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    desk = open_desk(tmp_path_factory.mktemp("desk") / "desk.sqlite", create=True)
    config = ReviewConfig(page_cases=10)
    playwright.expect.set_options(timeout=15_000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(desk, config, Access()), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        yield Served(f"http://127.0.0.1:{taken.getsockname()[1]}", desk, config)
        server.should_exit = True
        thread.join(10)
    desk.close()
    patch.undo()


@dataclass
class Reader:
    """Somebody at a browser; what it asks for and what it complains of is noted."""

    context: BrowserContext
    page: Page
    url: str
    asked: list[str]
    said: list[str]

    def open(self, path: str) -> Page:
        self.page.goto(self.url + path)
        return self.page

    def another(self) -> Page:
        """Another tab of the same browser."""
        page = self.context.new_page()
        page.set_default_timeout(20_000)
        return page


@pytest.fixture
def sit_down(browser: Browser, served: Served) -> Iterator[Any]:
    """Sign somebody in with a browser of their own; in the end nothing may have been asked of another host."""
    seated: list[Reader] = []

    def sit(name: str, **options: Any) -> Reader:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        page = context.new_page()
        page.set_default_timeout(20_000)
        reader = Reader(context, page, served.url, [], [])
        context.on("request", lambda request: reader.asked.append(request.url))
        context.on("weberror", lambda error: reader.said.append(str(error.error)))
        page.on("console", lambda message: reader.said.append(message.text))
        seated.append(reader)
        reader.open("/sign-in")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "sign-in" not in url)
        return reader

    yield sit
    for reader in seated:
        reader.context.close()
        assert reader.asked
        assert all(url.startswith((reader.url, "data:")) for url in reader.asked)
        # A refusal that the page itself shows is also noted by the browser.
        assert [line for line in reader.said if "Failed to load resource" not in line] == []


def _saved(page: Page) -> None:
    playwright.expect(page.locator("#saved")).to_have_attribute("data-state", "saved")


def test_twenty_cases_by_keyboard_alone(served: Served, sit_down: Any) -> None:
    cases = [_ordinary(number) for number in range(20)]
    run, (ann,) = served.put(cases, ("ann", Role.REVIEWER))
    page = sit_down(ann).open(f"/queues/{run}")
    page.keyboard.press("g")
    for number, case in enumerate(cases):
        page.wait_for_url("**/cases/*")
        playwright.expect(page.locator("#case-name")).to_contain_text(case.case_id)
        page.keyboard.press("j")
        playwright.expect(page.locator("mark:focus")).to_have_count(1)
        for _ in case.evidence:
            page.keyboard.press("c" if number % 2 else "r")
        if number == 3:
            page.keyboard.press("1")
            page.keyboard.press("w")
            page.keyboard.type("she says so herself")  # no letter of it is a key meanwhile
            page.keyboard.press("Escape")
        address = page.url
        page.keyboard.press("f")
        page.wait_for_url(lambda url, old=address: url != old)
    page.wait_for_url("**/queues/*")
    playwright.expect(page.get_by_text("There is nothing left to read here for you")).to_be_visible()
    playwright.expect(page.get_by_text("20 of 20 finished, 0 left")).to_be_visible()
    for number, case in enumerate(cases):
        key = served.key(run, case.case_id)
        assert served.review(key).finished_at is not None
        reason = "she says so herself" if number == 3 else ""
        expected = {
            mode: ("confirm" if number % 2 else "reject", reason if mode == "information_leaked" else "")
            for mode in case.evidence
        }
        assert served.decisions(key) == expected


def _places(narrative: str) -> list[tuple[int, int]]:
    """For each place in the text that a browser shows, in UTF-16 units: the code points before it that are whole, and
    those that it reaches into."""
    from secondlook.page import plain

    places = [(0, 0)]
    for point, character in enumerate(narrative):
        units = len((character if character in "\r" else plain(character)).encode("utf-16-le")) // 2
        places += [(point, point + 1)] * (units - 1) + [(point + 1, point + 1)]
    return places


SELECT = """async ([start, end]) => {
  const { selected } = await import("/static/offsets.js");
  const text = document.getElementById("narrative");
  const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
  const at = [];
  for (let node = walker.nextNode(), before = 0; node; before += node.length, node = walker.nextNode()) {
    for (const place of [start, end]) {
      if (place >= before && place <= before + node.length) at[place] ??= [node, place - before];
    }
  }
  getSelection().setBaseAndExtent(...at[start], ...at[end]);
  return selected(text);
}"""


def test_what_is_selected_is_found_to_the_code_point(served: Served, sit_down: Any) -> None:
    import random

    run, (ann,) = served.put([Told("MIXED", MIXED, {"no_welfare_check": (UNSEEN, 0.5)})], ("ann", Role.REVIEWER))
    page = sit_down(ann).open(f"/cases/{served.key(run, 'MIXED')}")
    places = _places(MIXED)
    assert page.evaluate("document.getElementById('narrative').textContent.length") == len(places) - 1
    rng = random.Random(7)
    chosen = [(n, n + 1) for n in range(0, len(places) - 1, 3)]
    chosen += [tuple(sorted(rng.sample(range(len(places)), 2))) for _ in range(150)]
    for start, end in chosen:
        expected = {"start": places[start][0], "end": places[end][1]}
        assert page.evaluate(SELECT, [start, end]) == expected, (start, end)


@pytest.mark.parametrize(
    "words", ["He wrote", f"{RIGHT_TO_LEFT} \U0001f469\u200d\U0001f469\u200d\U0001f467 and", "direction\u202c and \x00 nothing",
              "\U0001f1ec\U0001f1e7 End.", "left.\rHidden", "line.\r\nHe"],
)  # fmt: skip
def test_a_marked_passage_is_stored_as_it_was_selected(served: Served, sit_down: Any, words: str) -> None:
    run, (ann,) = served.put([Told("MIXED", MIXED, {"no_welfare_check": (UNSEEN, 0.5)})], ("ann", Role.REVIEWER))
    case = served.key(run, "MIXED")
    page = sit_down(ann).open(f"/cases/{case}")
    places = _places(MIXED)
    start = MIXED.index(words)
    ends = [next(n for n, place in enumerate(places) if place == (at, at)) for at in (start, start + len(words))]
    page.evaluate(SELECT, ends)
    page.keyboard.press("m")
    page.keyboard.press("3")
    _saved(page)
    assert served.marks(case) == [("statement_dictated", words)]
    playwright.expect(page.locator("#marks li")).to_have_count(1)
    playwright.expect(page.locator("#narrative .layer.own.m2").first).to_be_visible()
    page.get_by_role("button", name="Remove this mark").click()
    playwright.expect(page.locator("#narrative .layer.own")).to_have_count(0)
    assert served.marks(case) == []


def test_a_passage_is_marked_and_unmarked_by_keyboard(served: Served, sit_down: Any) -> None:
    run, (ann,) = served.put([_ordinary(0)], ("ann", Role.REVIEWER))
    case = served.key(run, "CMP-000")
    page = sit_down(ann).open(f"/cases/{case}")
    page.keyboard.press("s")
    page.keyboard.press("s")
    page.keyboard.press("s")
    page.keyboard.press("S")
    words = page.evaluate("getSelection().toString()")
    assert words == TOLD
    page.keyboard.press("m")
    playwright.expect(page.get_by_role("dialog")).to_contain_text(TOLD)
    page.keyboard.press("2")
    _saved(page)
    assert served.marks(case) == [("no_welfare_check", TOLD)]
    playwright.expect(page.locator("#narrative .layer.own")).to_have_count(1)
    page.keyboard.press("j")
    label = page.locator("mark:focus").get_attribute("aria-label")
    assert label == "evidence for Information leaked, 62% of the score; marked by you for No welfare check"
    page.keyboard.press("d")
    playwright.expect(page.locator("#narrative .layer.own")).to_have_count(0)
    page.keyboard.press("z")
    playwright.expect(page.locator("#narrative .layer.own")).to_have_count(1)
    assert served.marks(case) == [("no_welfare_check", TOLD)]


def test_undo_brings_back_what_was(served: Served, sit_down: Any) -> None:
    run, (ann,) = served.put([_ordinary(2)], ("ann", Role.REVIEWER))
    case = served.key(run, "CMP-002")
    page = sit_down(ann).open(f"/cases/{case}")
    playwright.expect(page.locator("#undo")).to_be_disabled()
    page.get_by_role("radio", name="Reject").first.check()
    page.get_by_role("radio", name="Unsure").first.check()
    _saved(page)
    page.keyboard.press("z")
    playwright.expect(page.get_by_role("radio", name="Reject").first).to_be_checked()
    _saved(page)
    assert served.decisions(case) == {"information_leaked": ("reject", "")}
    page.keyboard.press("z")
    playwright.expect(page.get_by_role("radio", name="Reject").first).not_to_be_checked()
    playwright.expect(page.locator("#undo")).to_be_disabled()
    assert served.decisions(case) == {}


def test_the_note_is_saved_while_it_is_typed_and_keys_only_type(served: Served, sit_down: Any) -> None:
    run, (ann,) = served.put([_ordinary(0)], ("ann", Role.REVIEWER))
    case = served.key(run, "CMP-000")
    page = sit_down(ann).open(f"/cases/{case}")
    page.keyboard.press("n")
    page.keyboard.type("cruz fine? \U0001f600")
    playwright.expect(page.locator("#saved")).to_have_text("Not saved yet")
    playwright.expect(page.locator("#saved")).to_contain_text("Saved at")
    assert served.review(case).note == "cruz fine? \U0001f600"
    assert served.decisions(case) == {}
    page.keyboard.type(" more")  # and away at once
    page.keyboard.press("Escape")
    page.keyboard.press("q")
    page.wait_for_url("**/queues/*")
    assert served.review(case).note == "cruz fine? \U0001f600 more"
    page.goto(f"{served.url}/cases/{case}")
    playwright.expect(page.get_by_label("Note")).to_have_value("cruz fine? \U0001f600 more")


def test_a_reason_may_be_written_before_its_verdict(served: Served, sit_down: Any) -> None:
    run, (ann,) = served.put([_ordinary(0)], ("ann", Role.REVIEWER))
    case = served.key(run, "CMP-000")
    page = sit_down(ann).open(f"/cases/{case}")
    page.keyboard.press("w")
    page.keyboard.type("clear as day")
    playwright.expect(page.locator("#saved")).to_have_text("Give a verdict, so that the reason is saved")
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    playwright.expect(page.locator("#saved")).to_contain_text("Saved at")
    assert served.decisions(case) == {"information_leaked": ("confirm", "clear as day")}


def test_two_tabs_do_not_overwrite_each_other(served: Served, sit_down: Any) -> None:
    run, (ann,) = served.put([_ordinary(2)], ("ann", Role.REVIEWER))
    case = served.key(run, "CMP-002")
    reader = sit_down(ann)
    first, second = reader.open(f"/cases/{case}"), reader.another()
    second.goto(f"{served.url}/cases/{case}")
    first.keyboard.press("c")
    _saved(first)
    second.get_by_label("Note").fill("typed in the other tab")
    playwright.expect(second.get_by_role("alert").filter(has_text="changed in another window")).to_be_visible()
    assert served.review(case).note == ""
    second.get_by_role("button", name="Load what is there now").click()
    playwright.expect(second.get_by_role("radio", name="Confirm").first).to_be_checked()
    playwright.expect(second.get_by_role("region", name="Not saved")).to_contain_text("typed in the other tab")
    second.get_by_role("button", name="Save after all").click()
    _saved(second)
    assert served.review(case).note == "typed in the other tab"
    assert served.decisions(case) == {"information_leaked": ("confirm", "")}


def test_what_cannot_be_saved_is_kept_and_tried_again(served: Served, sit_down: Any) -> None:
    run, (ann,) = served.put([_ordinary(0)], ("ann", Role.REVIEWER))
    case = served.key(run, "CMP-000")
    reader = sit_down(ann)
    page = reader.open(f"/cases/{case}")
    reader.context.set_offline(True)
    page.keyboard.press("c")
    playwright.expect(page.locator("#saved")).to_contain_text("Not saved: the desk cannot be reached. Trying again")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.evaluate("location.reload()")
    page.wait_for_timeout(200)
    assert asked == ["beforeunload"]
    assert served.decisions(case) == {}
    reader.context.set_offline(False)
    playwright.expect(page.locator("#saved")).to_contain_text("Saved at")
    assert served.decisions(case) == {"information_leaked": ("confirm", "")}


def test_to_finish_needs_the_flagged_modes_and_can_be_taken_back(served: Served, sit_down: Any) -> None:
    run, (ann,) = served.put([_ordinary(2)], ("ann", Role.REVIEWER))
    case = served.key(run, "CMP-002")
    page = sit_down(ann).open(f"/cases/{case}")
    page.keyboard.press("c")
    page.keyboard.press("f")
    playwright.expect(page.get_by_role("alert").filter(has_text="still to decide")).to_contain_text("no_welfare_check")
    page.keyboard.press("u")
    page.keyboard.press("f")
    page.wait_for_url("**/queues/*")
    page.goto(f"{served.url}/cases/{case}")
    playwright.expect(page.get_by_text("You have finished this case.")).to_be_visible()
    playwright.expect(page.get_by_role("radio", name="Confirm").first).to_be_disabled()
    page.keyboard.press("o")
    playwright.expect(page.get_by_role("radio", name="Confirm").first).to_be_enabled()
    assert served.review(case).finished_at is None


def test_a_long_narrative_opens_at_the_first_evidence(served: Served, sit_down: Any) -> None:
    text = CLOSING * 3000 + " " + UNSEEN + "\U0001f600" * 200 + CLOSING * 2000 + TOLD + CLOSING * 45_000
    assert len(text) > 4_700_000
    told = Told("LONG", text, {"no_welfare_check": (UNSEEN, 0.6), "information_leaked": (TOLD, 0.4)})
    run, (ann,) = served.put([told], ("ann", Role.REVIEWER))
    case = served.key(run, "LONG")
    page = sit_down(ann).open(f"/cases/{case}")
    focused = page.locator("mark:focus")
    playwright.expect(focused).to_have_text(UNSEEN)
    playwright.expect(focused).to_be_in_viewport()
    page.keyboard.press("s")
    page.keyboard.press("m")
    page.keyboard.press("1")
    _saved(page)
    assert served.marks(case) == [("information_leaked", UNSEEN)]
    page.locator("#narrative mark").first.focus()
    page.keyboard.press("j")  # the next mark is in another part
    page.wait_for_url("**at=*")
    playwright.expect(page.locator("mark:focus")).to_have_text(TOLD)
    page.get_by_role("link", name="Later").first.click()
    page.wait_for_load_state()
    part = page.locator("#narrative")
    start, end = (int(part.get_attribute(name) or "") for name in ("data-start", "data-end"))
    assert part.text_content() == text[start:end]


def test_hostile_texts_are_shown_as_text(served: Served, sit_down: Any) -> None:
    text = HOSTILE + TOLD + HOSTILE
    case_id = "<img src=x onerror=alert(1)>\u202e {{ 7 * 7 }}"
    run, (ann,) = served.put([Told(case_id, text, {"information_leaked": (TOLD, 0.7)})], ("ann", Role.REVIEWER))
    case = served.key(run, case_id)
    reader = sit_down(ann)
    for path in (
        f"/queues/{run}",
        f"/queues/{run}?text=<script>alert(1)</script>&reviewer=%22><b>",
        f"/cases/{case}",
        f"/cases/{case}/print",
    ):
        page = reader.open(path)
        assert page.locator("main img, main script, main style, main b:has-text('id')").count() == 0
        assert "taken" not in page.title()
        assert page.locator("main").is_visible()
    shown = reader.open(f"/cases/{case}").locator("#narrative").text_content()
    assert shown == text.replace("\u202e", "⟦U+202E⟧").replace("\u2066", "⟦U+2066⟧").replace(
        "\u2069", "⟦U+2069⟧"
    ).replace("\x00", "⟦U+0000⟧")
    page.keyboard.press("c")
    page.keyboard.press("n")
    page.keyboard.type("<script>alert(1)</script>")
    page.keyboard.press("Escape")
    _saved(page)
    page.reload()
    assert page.get_by_label("Note").input_value() == "<script>alert(1)</script>"


def test_a_case_that_somebody_else_has_is_only_to_read(served: Served, sit_down: Any) -> None:
    run, (ann, ben) = served.put([_ordinary(0)], ("ann", Role.REVIEWER), ("ben", Role.REVIEWER))
    case = served.key(run, "CMP-000")
    sit_down(ann).open(f"/cases/{case}")
    page = sit_down(ben).open(f"/cases/{case}")
    playwright.expect(page.get_by_text("Only to read.")).to_be_visible()
    assert page.get_by_role("radio").count() == 0
    page.keyboard.press("c")
    page.keyboard.press("f")
    page.wait_for_url("**/queues/*")
    assert served.decisions(case) == {}


def test_without_the_models_word_nothing_of_it_is_there(served: Served, sit_down: Any) -> None:
    told = Told("BLIND", OPENING + TOLD, {"information_leaked": (TOLD, 0.7)}, (Arm.UNPROMPTED, Arm.PROMPTED))
    run, (ann,) = served.put([told], ("ann", Role.REVIEWER))
    case = served.key(run, "BLIND")
    page = sit_down(ann).open(f"/queues/{run}")
    assert "86%" not in page.content()
    page.goto(f"{served.url}/cases/{case}")
    playwright.expect(page.get_by_text("without the model’s word")).to_be_visible()
    assert page.locator("mark").count() == 0
    assert all(word not in page.content() for word in ("86%", "⚑", "Stands here", "priority <b>"))
    for key in "crr":
        page.keyboard.press(key)
    page.keyboard.press("f")
    page.wait_for_url("**/queues/*")
    assert {mode: verdict for mode, (verdict, _) in served.decisions(case).items()} == {
        "information_leaked": "confirm", "no_welfare_check": "reject", "statement_dictated": "reject"
    }  # fmt: skip


def test_between_two_reviewers_stand_both_their_verdicts(served: Served, sit_down: Any) -> None:
    told = Told("DOUBLE", OPENING + TOLD + CLOSING, {"information_leaked": (TOLD, 0.7)}, (Arm.PROMPTED, Arm.PROMPTED))
    people = (("ann", Role.REVIEWER), ("ben", Role.REVIEWER), ("cleo", Role.ADJUDICATOR))
    run, (ann, ben, cleo) = served.put([told], *people)
    case = served.key(run, "DOUBLE")
    for name, key in ((ann, "c"), (ben, "r")):
        page = sit_down(name).open(f"/cases/{case}")
        page.keyboard.press(key)
        page.keyboard.press("1")
        page.keyboard.press("w")
        page.keyboard.type(f"because {key}")
        page.keyboard.press("Escape")
        page.keyboard.press("f")
        page.wait_for_url("**/queues/*")
    page = sit_down(cleo).open(f"/queues/{run}")
    page.keyboard.press("g")
    page.wait_for_url("**/cases/*")
    row = page.get_by_role("row", name="Information leaked")
    playwright.expect(row.get_by_role("cell").nth(0)).to_contain_text("confirm")
    playwright.expect(row.get_by_role("cell").nth(1)).to_contain_text("because r")
    assert all(name not in page.locator("main").inner_text() for name in (ann, ben))
    assert page.get_by_role("radio").count() == 3  # only what they differ on
    page.keyboard.press("c")
    page.keyboard.press("f")
    page.wait_for_url("**/queues/*")
    with served.desk.reading() as session:
        assert session.get_one(CaseRow, case).status == "settled"


def test_the_queue_by_filter_and_by_key(served: Served, sit_down: Any) -> None:
    cases = [_ordinary(number) for number in range(25)]
    cases.append(Told("COPY", cases[0].narrative + " Again.", {}, copy_of="CMP-000"))
    run, (ann,) = served.put(cases, ("ann", Role.REVIEWER))
    page = sit_down(ann).open(f"/queues/{run}")
    playwright.expect(page.get_by_text("25 cases. Page 1 of 3.")).to_be_visible()
    playwright.expect(page.locator(".line").first).to_contain_text("1 near-copy")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent") == "CMP-001"
    page.keyboard.press("n")
    page.wait_for_url("**page=2")
    playwright.expect(page.locator(".case-link").first).to_have_text("CMP-010")
    page.keyboard.press("f")
    page.get_by_label("Mode").select_option(label="2 No welfare check")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("week 5")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=week+5*")
    playwright.expect(page.locator(".case-link")).to_have_text(["CMP-005"])
    page.keyboard.press("g")
    page.wait_for_url("**/cases/*mode=no_welfare_check*")
    playwright.expect(page.locator("#case-name")).to_contain_text("CMP-005")
    page.keyboard.press("q")
    page.wait_for_url("**/queues/*text=week+5*")
    page.keyboard.press("x")
    playwright.expect(page.get_by_text("25 cases. Page 1 of 3.")).to_be_visible()


def test_the_keys_are_listed_and_can_be_switched_off(served: Served, sit_down: Any) -> None:
    run, (ann,) = served.put([_ordinary(0)], ("ann", Role.REVIEWER))
    case = served.key(run, "CMP-000")
    page = sit_down(ann).open(f"/cases/{case}")
    page.keyboard.press("?")
    playwright.expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("c")  # behind the list nothing happens
    page.get_by_label("Keys do something on this computer").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    assert page.get_by_role("radio", name="Confirm").first.is_checked() is False
    assert served.decisions(case) == {}


def test_paper_shows_the_case_alone(served: Served, sit_down: Any) -> None:
    run, (ann,) = served.put([_ordinary(2)], ("ann", Role.REVIEWER))
    case = served.key(run, "CMP-002")
    page = sit_down(ann).open(f"/cases/{case}")
    page.keyboard.press("c")
    page.keyboard.press("p")
    page.wait_for_url("**/print*")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".bar-top").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    playwright.expect(page.get_by_role("row", name="Information leaked")).to_contain_text("confirm")
    playwright.expect(page.locator("#narrative")).to_contain_text(UNSEEN)


@contextmanager
def _all_pages(served: Served, sit_down: Any, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page, and the paths of all kinds of pages."""
    long = Told("LONG", CLOSING * 1500 + UNSEEN + CLOSING, {"no_welfare_check": (UNSEEN, 0.6)})
    blind = Told("BLIND", OPENING, {}, (Arm.UNPROMPTED, Arm.PROMPTED))
    hostile = Told("HOSTILE", HOSTILE + TOLD, {"information_leaked": (TOLD, 0.7), "no_welfare_check": (TOLD, 0.3)})
    cases = [_ordinary(2), long, blind, hostile, Told("NONE", OPENING, {}, drawn=True), *map(_ordinary, range(3, 18))]
    run, (ann,) = served.put(cases, ("ann", Role.REVIEWER))
    keys = [served.key(run, told.case_id) for told in cases[:5]]
    reader = sit_down(ann, **options)
    yield reader.page, ["/", f"/queues/{run}", f"/queues/{run}?since=2026-01-03&page=2", "/help", "/account", f"/cases/{keys[0]}/print",
                        f"/queues/{run}?text=nowhere", *(f"/cases/{key}" for key in keys)]  # fmt: skip


@pytest.mark.parametrize("width", [320, 640, 768])
def test_a_narrow_window_needs_no_sideways_scrolling(served: Served, sit_down: Any, width: int) -> None:
    with _all_pages(served, sit_down, viewport={"width": width, "height": 900}) as (page, paths):
        for path in paths:
            page.goto(served.url + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(served: Served, sit_down: Any, scheme: Literal["light", "dark"]) -> None:
    source = os.environ.get("SECONDLOOK_AXE")
    if not source:
        pytest.skip("SECONDLOOK_AXE does not name an axe.min.js (npm install axe-core)")
    script = Path(source).read_text(encoding="utf-8") + "; undefined"
    run_axe = "axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] })"

    def violations(page: Page) -> list[tuple[str, str]]:
        page.evaluate(script)
        return [(item["id"], item["nodes"][0]["html"]) for item in page.evaluate(run_axe)["violations"]]

    with _all_pages(served, sit_down, color_scheme=scheme) as (page, paths):
        for path in paths:
            page.goto(served.url + path)
            assert violations(page) == [], path
        page.goto(served.url + paths[-1])
        page.keyboard.press("s")
        page.keyboard.press("m")
        assert violations(page) == [], "the dialog to mark"
        page.keyboard.press("1")
        _saved(page)
        page.keyboard.press("c")
        page.keyboard.press("?")
        assert violations(page) == [], "the list of keys"
