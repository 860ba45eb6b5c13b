"""The queue page in a real browser, as a reader with a mouse, a keyboard or a small screen meets it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from secondlook.codebook import Codebook, Mode
from secondlook.page import PageFacts, render_queue
from secondlook.pages import ListLine, write_list, write_pages
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
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _page(tmp_path_factory.mktemp("page"))


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Page]:
    """The page, opened; at the end nothing may have been logged or asked for but the file itself."""
    asked: list[str] = []
    with _watched(browser, path, asked) as tab:
        yield tab
    assert asked == [path.as_uri()]


@contextmanager
def _watched(browser: Browser, path: Path, asked: list[str]) -> Iterator[Page]:
    """A page, opened; at the end nothing may have been logged. What is asked for is noted."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    tab = context.new_page()
    said: list[str] = []

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


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve cases on three pages: the fourth copies the third and the ninth, drawn for the audit, stands second."""
    folder = tmp_path_factory.mktemp("paged")
    codebook = Codebook(name="t", version="1", modes=(Mode(id="told", title="Told", definition="For tests."),))
    facts = PageFacts("default", "ab" * 32, 12, 0, 2000, shown=12)
    order = [1, 9, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12]
    cases = [
        ScoredCase(
            Case(f"CMP-{rank}", TEXT, {}, "cases.csv", rank + 1), rank, 1 / rank, {"told": 0.9}, {"told": (0.8, 0.95)},
            {"told": rank % 2 == 0}, (), explanation=f"Stands here for being number {rank}",
            duplicate_of="CMP-3" if rank == 4 else None, drawn_for_audit=rank == 9,
        )
        for rank in order
    ]  # fmt: skip
    write_pages(folder, cases, codebook, facts, [1, 4, 8], 4)
    pages = {rank: place // 4 + 1 for place, rank in enumerate(order)}
    lines = (ListLine(n, f"CMP-{n}", 1 / n, (n % 2 == 0,), pages[n], copy=n == 4, drawn=n == 9) for n in range(1, 13))
    write_list(folder, lines, 12, codebook, facts)
    return folder


@pytest.fixture
def tab(browser: Browser, paged: Path) -> Iterator[Page]:
    """The first of three pages, opened; at the end nothing may have been asked for but the run's own files."""
    asked: list[str] = []
    with _watched(browser, paged / "queue.html", asked) as page:
        yield page
    assert all(url.startswith(paged.as_uri()) for url in asked)


def test_keys_and_links_turn_the_pages_and_keep_the_filter(tab: Page) -> None:
    assert tab.locator("#status").text_content() == "4 of 4 cases on this page shown."
    tab.get_by_role("radio", name="Told 1").check()
    assert _shown(tab) == ["case-2"]
    tab.keyboard.press("n")
    tab.wait_for_url("**/pages/queue-00002.html#show=1")
    assert _shown(tab) == ["case-4", "case-6"]
    tab.get_by_role("link", name="Next page").first.click()
    tab.wait_for_url("**/pages/queue-00003.html#show=1")
    assert tab.get_by_role("link", name="Next page").count() == 0
    tab.keyboard.press("n")
    assert _shown(tab) == ["case-8", "case-10", "case-12"]
    tab.get_by_role("radio", name="All 4").check()
    tab.get_by_role("navigation", name="Pages, below").get_by_role("link", name="Page 1").click()
    tab.wait_for_url("**/queue.html")
    assert tab.get_by_role("radio", name="All 4").is_checked()


@pytest.mark.parametrize(
    ("rank", "page", "case"),
    [("6", "pages/queue-00002.html", "case-6"), ("2", "queue.html", "case-2"), ("9", "pages/queue-00003.html", "case-10"),
     ("999", "pages/queue-00003.html", "")],
)  # fmt: skip
def test_a_rank_is_gone_to(tab: Page, rank: str, page: str, case: str) -> None:
    tab.keyboard.press("g")
    tab.keyboard.type(rank)
    tab.keyboard.press("Enter")
    tab.wait_for_url(f"**/{page}#rank={rank}")
    if case:  # the page goes there once it has heard of its new address
        playwright.expect(tab.locator(f"#{case}")).to_be_focused()


def test_what_is_no_rank_goes_nowhere(tab: Page) -> None:
    address = tab.url
    for text in ("nine", "-3", "1e3x", ""):
        tab.locator("#rank").fill(text)
        tab.locator("#rank").press("Enter")
    assert tab.url == address


def test_a_drawn_case_and_a_copy_say_so(tab: Page) -> None:
    tab.get_by_role("radio", name="Drawn for the audit 1").check()
    assert _shown(tab) == ["case-9"]
    assert tab.locator("#case-9 .tag").text_content() == "Drawn for the audit"
    assert tab.locator("#case-9 .why").text_content() == "Stands here for being number 9."
    tab.keyboard.press("n")
    tab.wait_for_url("**/queue-00002.html*")
    tab.get_by_role("radio", name="All 4").check()
    assert not tab.locator("#case-4 .text").first.is_visible()
    assert tab.get_by_text("It has every sentence of this one.").is_visible()
    tab.locator("#case-4 summary").click()
    assert tab.locator("#case-4 .text").first.is_visible()


def test_the_list_leads_to_every_case(tab: Page) -> None:
    tab.get_by_role("link", name="All cases, a line each").click()
    assert tab.get_by_role("listitem").filter(has_text="CMP-").count() == 12
    tab.get_by_role("link", name="CMP-7", exact=True).click()
    tab.wait_for_url("**/queue-00002.html#case-7")
    assert tab.locator("#case-7").evaluate("item => Math.abs(item.getBoundingClientRect().top) < 40")


@pytest.mark.parametrize("name", ["queue.html", "pages/queue-00002.html", "pages/list-001.html"])
def test_paged_files_fit_a_narrow_screen_and_work_without_scripts(browser: Browser, paged: Path, name: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 320, "height": 640})
    page = context.new_page()
    page.goto((paged / name).as_uri())
    width = page.locator("html").evaluate("item => item.scrollWidth")
    assert width <= 320
    page.get_by_role("link", name="CMP-9" if "list" in name else "Next page", exact=True).first.click()
    assert "queue" in page.url
    context.close()


def _violations(page: Page) -> list[tuple[str, str]]:
    source = os.environ.get("SECONDLOOK_AXE")
    if not source:
        pytest.skip("SECONDLOOK_AXE does not name an axe.min.js (npm install axe-core)")
    page.evaluate(Path(source).read_text(encoding="utf-8") + "; undefined")
    found = page.evaluate("axe.run()")
    return [(item["id"], item["nodes"][0]["html"]) for item in found["violations"]]


def test_axe_finds_nothing(page: Page) -> None:
    assert _violations(page) == []


@pytest.mark.parametrize("name", ["queue.html", "pages/queue-00002.html", "pages/list-001.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_further_pages(
    tab: Page, paged: Path, name: str, scheme: Literal["light", "dark"]
) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.goto((paged / name).as_uri())
    assert _violations(tab) == []
