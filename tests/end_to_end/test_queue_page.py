"""The queue page in a real browser, as a reader with a mouse, a keyboard or a small screen meets it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from secondlook.codebook import Codebook, Mode
from secondlook.page import PageFacts, render_queue
from secondlook.schema import Case, Evidence, ScoredCase, Span

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

FLAGS: list[set[str]] = [{"told", "unseen"}, {"told"}, set(), {"unseen"}]
MODES = {"told": "Information leaked", "unseen": "No welfare check"}
TOLD, UNSEEN = "The desk rang his house and he answered.", "For three days nobody went."
TEXT = f"I reported it on Monday.\r\n\r\n{TOLD} {UNSEEN}\n\n<img src=x onerror=alert(1)> report\u202efdp.exe \x00 " + (
    "The letter said that the matter was closed. " * 30
)
CHROMIUM = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage")


def _page(folder: Path) -> Path:
    modes = tuple(Mode(id=mode, title=title, definition="For tests.") for mode, title in MODES.items())
    spans = {mode: Span(TEXT.index(part), TEXT.index(part) + len(part)) for mode, part in
             (("told", TOLD), ("unseen", UNSEEN))}  # fmt: skip
    evidence = tuple(Evidence(mode, span, 0.62) for mode, span in spans.items())
    cases = [
        ScoredCase(
            Case(f"CMP-{rank}", TEXT, {"Received": "2024-04-02", "Reference": "x" * 200}, "cases.csv", rank + 1),
            rank,
            1 / rank,
            {"told": 0.93, "unseen": 0.2},
            {"told": (0.88, 0.96), "unseen": (0.15, 0.26)},
            {mode: mode in flags for mode in MODES},
            evidence,
        )
        for rank, flags in enumerate(FLAGS, start=1)
    ]
    path = folder / "queue.html"
    html = render_queue(
        cases, Codebook(name="t", version="1", modes=modes), PageFacts("default", "ab" * 32, 9, 1, 1200)
    )
    path.write_text(html, encoding="utf-8", newline="\n")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if not found:
        pytest.skip("no Chromium on the path (chromium, chromium-browser or google-chrome)")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=list(CHROMIUM))
        yield running
        running.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _page(tmp_path_factory.mktemp("page"))


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Page]:
    """The page, opened; at the end nothing may have been logged or asked for but the file itself."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("dialog", refuse)
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    yield tab
    context.close()
    assert said == []
    assert asked == [path.as_uri()]


def _focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id"))


def _shown(page: Page) -> list[str]:
    return [str(item.get_attribute("id")) for item in page.locator("article:visible").all()]


def test_the_filter_shows_what_was_chosen_and_says_how_many(page: Page) -> None:
    assert page.locator("#status").text_content() == "4 of 4 cases shown."
    page.get_by_role("radio", name="Information leaked 2").check()
    assert _shown(page) == ["case-1", "case-2"]
    assert page.get_by_role("status").text_content() == "2 of 4 cases shown, flagged for Information leaked."
    page.get_by_role("radio", name="Not flagged 1").check()
    assert _shown(page) == ["case-3"]
    page.get_by_role("radio", name="All 4").check()
    assert len(_shown(page)) == 4


def test_j_and_k_go_from_case_to_case(page: Page) -> None:
    for key, place in (("j", "case-1"), ("j", "case-2"), ("k", "case-1"), ("k", "case-1"), ("j", "case-2")):
        page.keyboard.press(key)
        assert _focused(page) == place
    assert page.locator("#case-2").evaluate("item => Math.abs(item.getBoundingClientRect().top) < 40")
    page.keyboard.press("f")
    page.get_by_role("radio", name="No welfare check").check()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert _focused(page) == "case-4"
    page.keyboard.press("j")
    assert _focused(page) == "case-4"


def test_the_keys_can_be_switched_off(page: Page) -> None:
    page.keyboard.press("?")
    assert _focused(page) == "keys"
    page.keyboard.press("Space")
    page.keyboard.press("j")
    assert _focused(page) == "keys"


def test_tab_reaches_the_evidence_and_its_share(page: Page) -> None:
    page.keyboard.press("j")
    page.keyboard.press("Tab")
    focused = page.locator("mark:focus")
    assert focused.text_content() == TOLD
    assert focused.get_attribute("aria-label") == "evidence for Information leaked, 62% of the score"
    assert page.evaluate("getComputedStyle(document.activeElement, '::after').position") == "fixed"
    page.keyboard.press("Escape")
    assert page.locator("mark:focus").count() == 0


def test_the_first_stop_is_the_way_past_the_header(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the cases"
    page.keyboard.press("Enter")
    page.keyboard.press("j")
    assert _focused(page) == "case-1"


def test_the_text_in_the_browser_is_the_narrative(page: Page) -> None:
    parts = page.locator("#case-1 .text").evaluate_all("items => items.map((item) => item.textContent)")
    whole = TEXT.replace("\u202e", "⟦U+202E⟧").replace("\x00", "⟦U+0000⟧")
    assert whole.startswith(parts[0])
    assert all(part in whole for part in parts)
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("width", [320, 375, 640])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_needs_no_sideways_scrolling(page: Page, width: int, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("summary").click()
    page.locator("mark").first.focus()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_shows_every_case_in_black_on_white(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert len(_shown(page)) == 4
    assert not page.locator("#controls").is_visible()
    style = "getComputedStyle(document.querySelector('.layer'))"
    assert page.evaluate(f"{style}.borderBottomColor") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert "62%" in page.evaluate("getComputedStyle(document.querySelector('.layer'), '::before').content")


def test_without_scripts_it_is_a_plain_list(browser: Browser, path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert not page.locator("#controls").is_visible()
    assert page.locator("article").count() == 4
    context.close()


def test_axe_finds_nothing(page: Page) -> None:
    source = os.environ.get("SECONDLOOK_AXE")
    if not source:
        pytest.skip("SECONDLOOK_AXE does not name an axe.min.js (npm install axe-core)")
    page.evaluate(Path(source).read_text(encoding="utf-8") + "; undefined")
    found = page.evaluate("axe.run()")
    assert [(item["id"], item["nodes"][0]["html"]) for item in found["violations"]] == []
