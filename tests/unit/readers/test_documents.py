"""Whole documents, one file a case: Word, PDF, e-mail, and archives of whatever is read."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import tempfile
import zipfile
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

docx = pytest.importorskip("docx", reason="the extra 'documents' is not installed")

from secondlook.readers import ReadOptions, archive, read_cases, sandbox, worker  # noqa: E402
from secondlook.readers.mail import text_of_html  # noqa: E402
from secondlook.readers.rows import Problem  # noqa: E402
from secondlook.schema import Case, Reject  # noqa: E402

MAKE: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "hostile" / "make.py"))
paragraph, pdf, relation, word, zip_of = (MAKE[name] for name in ("paragraph", "pdf", "relation", "word", "zip_of"))


def read(folder: Path, name: str, content: bytes, **options: Any) -> list[Case | Reject]:
    (folder / name).write_bytes(content)
    return list(read_cases([folder / name], ReadOptions(**options)))


def case(folder: Path, name: str, content: bytes) -> Case:
    (item,) = read(folder, name, content)
    assert isinstance(item, Case), item
    return item


def reason(folder: Path, name: str, content: bytes, **options: Any) -> str:
    (item,) = read(folder, name, content, **options)
    assert isinstance(item, Reject), item
    return item.reason


def test_a_word_document_is_its_paragraphs_and_tables(tmp_path: Path) -> None:
    document = docx.Document()
    document.add_heading("Statement", 1)
    document.add_paragraph("She said:\t“no” \n and left.")
    table = document.add_table(2, 2)
    for place, text in enumerate(["When", "Friday", "Who", "The desk\nofficer"]):
        table.cell(place // 2, place % 2).text = text
    document.add_paragraph("End 😀")
    document.save(str(tmp_path / "PC 17.docx"))
    (item,) = read_cases([tmp_path / "PC 17.docx"])
    assert isinstance(item, Case)
    assert (item.case_id, item.row, item.metadata) == ("PC 17", 1, {})
    assert item.narrative == "Statement\nShe said:\t“no” \n and left.\nWhen\tFriday\nWho\tThe desk\nofficer\nEnd 😀\n"


def test_tracked_changes_count_as_accepted(tmp_path: Path) -> None:
    run = '<w:r><w:t xml:space="preserve">{}</w:t></w:r>'
    mark = "<w:pPr><w:rPr><w:del/></w:rPr></w:pPr>"
    row = "<w:tr>{}<w:tc><w:p>" + run + "</w:p></w:tc></w:tr>"
    body = (
        f"<w:p>{run.format('He ')}<w:del><w:r><w:delText>never </w:delText></w:r></w:del>"
        f"<w:ins>{run.format('often ')}</w:ins>{run.format('called.')}</w:p>"
        f"<w:p>{mark}{run.format('One ')}</w:p><w:p>{run.format('line.')}</w:p>"
        f"<w:p><w:moveFrom>{run.format('moved')}</w:moveFrom><w:moveTo>{run.format('moved')}</w:moveTo></w:p>"
        f"<w:tbl>{row.format('<w:trPr><w:del/></w:trPr>', 'gone')}{row.format('', 'kept')}</w:tbl>"
    )
    assert case(tmp_path, "a.docx", word(body)).narrative == "He often called.\nOne line.\nmoved\nkept\n"


def test_footnotes_follow_and_what_is_not_read_is_named(tmp_path: Path) -> None:
    notes = f'<w:footnotes xmlns:w="{MAKE["WORD"]}"><w:footnote w:type="separator">{paragraph("-")}</w:footnote>'
    notes += f"<w:footnote>{paragraph('A note.')}</w:footnote></w:footnotes>"
    content = word(
        paragraph("Body."),
        ("word/footnotes.xml", notes),
        ("word/header1.xml", f'<w:hdr xmlns:w="{MAKE["WORD"]}">{paragraph("Letterhead")}</w:hdr>'),
        relations=relation("footnotes", "footnotes.xml") + relation("header", "header1.xml"),
    )
    item = case(tmp_path, "a.docx", content)
    assert (item.narrative, item.metadata) == ("Body.\nA note.\n", {"not_read": '["headers"]'})


def test_a_text_box_is_read_once(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{paragraph('In a box.')}</w:txbxContent>"
    both = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
    assert case(tmp_path, "a.docx", word(f"<w:p><w:r>{both}</w:r></w:p>")).narrative.count("In a box.") == 1


def test_pages_of_a_pdf_start_where_its_metadata_say(tmp_path: Path) -> None:
    pages = ["She waited.\nNobody came.", "", "He called it a “quarrel”."]
    item = case(tmp_path, "a.pdf", pdf(*pages))
    assert item.metadata["pages"] == "3"
    assert item.metadata["pages_without_text"] == "[2]"
    starts = json.loads(item.metadata["page_starts"] or "")
    ends = [*(start - 1 for start in starts[1:]), len(item.narrative)]
    assert [item.narrative[start:end] for start, end in zip(starts, ends, strict=True)] == pages


def test_comments_on_a_pdf_are_named(tmp_path: Path) -> None:
    note = "<</Type/Annot/Subtype/FreeText/Contents(Typed over it)/Rect[0 0 9 9]>>"
    assert (
        case(tmp_path, "a.pdf", pdf("Text", page="/Annots[6 0 R]", more=(note,))).metadata["not_read"] == '["comments"]'
    )


def make_mail(text: str | None, html: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Beschwerde über die Wache"
    message["From"] = "Person <a@example.org>"
    message["Date"] = "Fri, 1 Mar 2024 09:30:00 +0100"
    if text is not None:
        message.set_content(text)
    if html is not None and text is None:
        message.set_content(html, subtype="html")
    elif html is not None:
        message.add_alternative(html, subtype="html")
    return message


def test_an_email_is_its_plain_text_with_attachments_named(tmp_path: Path) -> None:
    message = make_mail("Nobody came – twice.\n\n> quoted\n", "<p>Not this</p>")
    message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="scan é.pdf")
    message.add_attachment(make_mail("Forwarded"))
    item = case(tmp_path, "17.eml", message.as_bytes())
    assert item.narrative == "Nobody came – twice.\n\n> quoted\n"
    assert item.case_id == "17"
    assert item.metadata == {
        "subject": "Beschwerde über die Wache",
        "from": "Person <a@example.org>",
        "date": "2024-03-01T09:30:00+01:00",
        "attachments": '["scan é.pdf", "message/rfc822"]',
    }


def test_an_email_without_plain_text_is_the_text_of_its_html(tmp_path: Path) -> None:
    html = (
        "<html><head><style>p {}</style></head><body><p>Nobody&nbsp;came.</p><script>x()</script>Twice.</body></html>"
    )
    assert case(tmp_path, "a.eml", make_mail(None, html).as_bytes()).narrative == "Nobody came.\nTwice."
    assert case(tmp_path, "a.eml", make_mail(" \n", html).as_bytes()).narrative == "Nobody came.\nTwice."
    assert text_of_html("<head><title>x<body>a<table><tr><td>b<td>c</table>") == "a\n\nb c\n".strip()


def test_texts_around_an_attachment_are_all_read(tmp_path: Path) -> None:
    parts = [
        "Content-Type: text/plain\n\nOne",
        "Content-Type: image/png; name=a.png\n\nx",
        "Content-Type: text/plain\n\nTwo",
    ]
    body = "".join(f"--b\n{part}\n" for part in parts) + "--b--\n"
    item = case(tmp_path, "a.eml", f"From: a@b\nContent-Type: multipart/mixed; boundary=b\n\n{body}".encode())
    assert (item.narrative, item.metadata["attachments"]) == ("One\nTwo", '["a.png"]')


def test_an_email_in_a_code_page_that_it_does_not_name(tmp_path: Path) -> None:
    content = "From: a@b\nContent-Type: text/plain; charset=us-ascii\n\nShe said “no” in the café.".encode("cp1252")
    assert case(tmp_path, "a.eml", content).narrative == "She said “no” in the café."


def test_an_archive_is_read_member_by_member(tmp_path: Path) -> None:
    inner = zip_of(("c.txt", "Three"))
    content = zip_of(
        ("x/a.txt", "One"),
        ("x/t.csv", "case_id,narrative\nb,Two\n"),
        ("in.zip", inner),
        ("p.pdf", pdf("Four")),
        ("e.csv", ""),
    )
    items = read(tmp_path, "a.zip", content)
    place = (tmp_path / "a.zip").as_posix()
    assert [(item.file.removeprefix(place), item.row, item.case_id) for item in items] == [
        ("/x/a.txt", 1, "a"),
        ("/x/t.csv", 2, "b"),
        ("/in.zip/c.txt", 1, "c"),
        ("/p.pdf", 1, "p"),
        ("/e.csv", None, None),
    ]
    assert [item.narrative for item in items if isinstance(item, Case)] == ["One", "Two", "Three", "Four"]


def test_archives_within_one_share_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive.Room.__init__, "__defaults__", (10_000, 3, 2))
    items = read(tmp_path, "a.zip", zip_of(("b.zip", zip_of(("b.txt", "x"), ("c.txt", "y"))), ("d.txt", "z")))
    assert [item.file.split("a.zip/")[1] for item in items] == ["b.zip", "d.txt"]
    assert isinstance(items[0], Reject)
    assert isinstance(items[1], Case)


def test_nothing_unpacked_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert case(tmp_path, "a.zip", zip_of(("a.txt", "One"))).narrative == "One"
    reading = read_cases([tmp_path / "a.zip"])
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert not list((tmp_path / "temporary").iterdir())


def test_a_folder_of_documents_is_read_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = sandbox._Worker.__init__
    monkeypatch.setattr(sandbox._Worker, "__init__", lambda self: (started.append(self), start(self))[1])
    for number in range(5):
        (tmp_path / f"{number}.docx").write_bytes(word(paragraph(f"Case {number}")))
    (tmp_path / "3.pdf").write_bytes(b"%PDF- damaged")
    items = list(read_cases([tmp_path]))
    assert [isinstance(item, Case) for item in items] == [True, True, True, True, False, True]
    assert len(started) == 1
    assert started[0]._process.returncode is not None


def test_a_parser_that_takes_too_long_is_stopped_and_the_next_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.pdf").write_bytes(MAKE["endless_pdf"]())
    (tmp_path / "2.txt").write_text("Text")
    (tmp_path / "3.docx").write_bytes(word(paragraph("Text")))
    monkeypatch.setattr(sandbox, "SECONDS", 1.5)
    slow, _, after = read_cases([tmp_path])
    assert isinstance(slow, Reject)
    assert "took more than 1.5 seconds" in slow.reason
    assert isinstance(after, Case)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit of memory")
def test_the_memory_of_a_parser_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = "from secondlook.readers import worker; worker._limit_memory(); bytearray(3 << 30)"
    done = subprocess.run([sys.executable, "-c", greedy], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr

    def fails(path: Path) -> Problem:
        raise MemoryError

    monkeypatch.setattr(worker, "_parser", lambda suffix: fails)
    (tmp_path / "a.pdf").write_bytes(pdf("Text"))
    item = worker.parse(tmp_path / "a.pdf", 100)
    assert isinstance(item, Problem)
    assert "more memory" in item.reason


def test_without_the_extra_the_command_to_install_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, parser in (("docx", "word"), ("pypdf", "pdf")):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, f"secondlook.readers.{parser}", raising=False)
    for name, content in (("a.docx", word("")), ("a.pdf", pdf("x"))):
        (tmp_path / name).write_bytes(content)
        item = worker.parse(tmp_path / name, 100)
        assert isinstance(item, Problem)
        assert "pip install 'secondlook[documents]'" in item.reason


def test_a_json_module_beside_the_cases_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert case(tmp_path, "a.docx", word(paragraph("Text"))).narrative == "Text\n"


@pytest.mark.parametrize("name", ["a.docx", "a.pdf", "a.eml", "a.zip"])
def test_documents_over_the_limit_are_rejected(tmp_path: Path, name: str) -> None:
    long = "word " * 100
    content = {
        "a.docx": word(paragraph(long)),
        "a.pdf": pdf(long),
        "a.eml": make_mail(long).as_bytes(),
        "a.zip": zip_of(("a.txt", long)),
    }[name]
    assert "more than the 100 characters" in reason(tmp_path, name, content, max_characters=100)


def test_reasons_quote_no_text(tmp_path: Path) -> None:
    for name, content in (
        ("a.docx", word(paragraph("secret") + "<w:p>")),
        ("a.eml", b"secret"),
        ("a.pdf", pdf("secret")[:-30]),
        ("a.zip", zip_of(("a.txt", "secret"))[:-9]),
    ):
        assert "secret" not in reason(tmp_path, name, content)


REAL: dict[str, bytes] = {
    ".docx": word(paragraph("She waited.")),
    ".pdf": pdf("She waited.", "Nobody came."),
    ".eml": make_mail("She waited.", "<p>She waited.</p>").as_bytes(),
    ".zip": zip_of(("a.txt", "She waited."), ("b.csv", "case_id,narrative\nb,Text\n"), method=zipfile.ZIP_STORED),
}
SETTINGS = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def shared() -> Any:
    """One process for all examples: starting one for each would take minutes."""
    one = sandbox.Sandbox()
    yield one
    one.close()


def check_never_raises(shared: sandbox.Sandbox, suffix: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("secondlook.readers.Sandbox", lambda: shared)
        patch.setattr(shared, "close", lambda: None)
        path = Path(folder) / f"in{suffix}"
        path.write_bytes(content)
        items = list(read_cases([path], ReadOptions(max_characters=10_000)))
    assert items
    for item in items:
        assert isinstance(item, Case | Reject)
        assert repr((item.case_id, item.file)).encode()


@pytest.mark.parametrize("suffix", sorted(REAL))
@given(
    content=st.binary(max_size=300),
    magic=st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"%PDF-1.4\n", b"From: a\n"]),
)
@SETTINGS
def test_arbitrary_bytes_never_raise(shared: sandbox.Sandbox, suffix: str, content: bytes, magic: bytes) -> None:
    check_never_raises(shared, suffix, magic + content)


@pytest.mark.parametrize("suffix", sorted(REAL))
@given(place=st.integers(0, 10_000), patch=st.binary(max_size=8), cut=st.integers(0, 3))
@SETTINGS
def test_damaged_documents_never_raise(
    shared: sandbox.Sandbox, suffix: str, place: int, patch: bytes, cut: int
) -> None:
    real = REAL[suffix]
    place %= len(real)
    check_never_raises(shared, suffix, real[:place] + patch + real[place + len(patch) + cut :])
