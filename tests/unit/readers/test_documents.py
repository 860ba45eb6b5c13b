"""Whole documents, one file a case: Word, PDF, e-mail, and archives of whatever is read."""

from __future__ import annotations

import errno
import io
import json
import os
import runpy
import shutil
import struct
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

from secondlook.readers import ReadOptions, archive, read_cases, sandbox, unpacking, worker  # noqa: E402
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


def run(*content: str) -> str:
    return "".join(f"<w:r>{element}</w:r>" for element in content)


def test_ticks_are_characters(tmp_path: Path) -> None:
    sym = '<w:sym w:font="{}" w:char="{}"/>'
    old = '<w:fldChar w:fldCharType="begin"><w:ffData>{}</w:ffData></w:fldChar>'
    states = ('<w:default w:val="1"/>', '<w:default w:val="1"/><w:checked w:val="0"/>', "<w:checked/>")
    control = (
        '<w:sdt xmlns:w14="http://schemas.microsoft.com/office/word/2010/wordml"><w:sdtPr><w14:checkbox><w14:checked'
        ' w14:val="{}"/></w14:checkbox></w:sdtPr><w:sdtContent>{}</w:sdtContent></w:sdt>'
    )
    entries = '<w:listEntry w:val="No"/><w:listEntry w:val="Yes"/>'
    body = "".join(
        f"<w:p>{content}</w:p>"
        for content in (
            run(sym.format("Wingdings", "F0FE"), sym.format("Wingdings 2", "00A3"), sym.format("MS Gothic", "2612")),
            run(*(old.format(f"<w:checkBox>{state}</w:checkBox>") for state in states)),
            control.format(1, run()) + control.format(0, run()) + control.format(1, run("<w:t>☑</w:t>")),
            run(old.format(f'<w:ddList><w:result w:val="1"/>{entries}</w:ddList>')),
        )
    )
    item = case(tmp_path, "a.docx", word(body))
    assert (item.narrative, item.metadata) == ("☑☐☒\n☒☐☒\n☒☐☑\nYes\n", {})


def test_symbols_and_controls_that_have_no_character_are_named(tmp_path: Path) -> None:
    body = paragraph("Text") + f"<w:p>{run('<w:object><w:control/></w:object>')}</w:p>"
    for font, code in (("Wingdings", "F04A"), ("Symbol", "F0B7"), ("Other", "F041"), ("Other", "FFFFFFFF"), ("", "x")):
        symbol = run(f'<w:sym w:font="{font}" w:char="{code}"/>')
        item = case(tmp_path, "a.docx", word(f"{body}<w:p>{symbol}</w:p>"))
        assert (item.narrative, item.metadata) == ("Text\n\n\n", {"not_read": '["symbols", "controls"]'})


@pytest.mark.parametrize(
    ("field", "is_answered"),
    [
        ("/FT/Btn/T(a)/V/Yes", True),
        ("/FT/Btn/T(a)/V/Off", False),
        ("/FT/Btn/T(a)", False),
        ("/FT/Tx/T(a)/V()", False),
        ("/FT/Tx/T(a)/V null", False),
        ("/FT/Ch/T(a)/V[(One)]", True),
        ("/T(a)/V/Yes/Parent 7 0 R", True),
        ("/FT/Sig/T(a)/V<</Type/Sig>>", False),
    ],
)
def test_answers_of_a_form_are_told(tmp_path: Path, field: str, is_answered: bool) -> None:
    more = (f"<</Type/Annot/Subtype/Widget/Rect[0 0 9 9]{field}>>", "<</FT/Btn/T(b)/Kids[6 0 R]>>")
    (item,) = read(tmp_path, "a.pdf", pdf("Text", catalog="/AcroForm<</Fields[6 0 R]>>", more=more))
    assert isinstance(item, Reject) is is_answered
    assert not isinstance(item, Reject) or "form whose answers" in item.reason


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


@pytest.mark.parametrize(
    "html",
    ["a<style>b", "a<script>b</p>", "a<title>b", "a<!-- b", "a<p class='b", "<svg><style>a</svg>b", "a<title>b<title>"],
)
def test_html_that_hides_its_rest_is_rejected(tmp_path: Path, html: str) -> None:
    mail = "From: a@b\nContent-Type: multipart/alternative; boundary=b\n\n"
    mail += f"--b\nContent-Type: text/plain\n\n{{}}\n--b\nContent-Type: text/html\n\n{html}\n--b--\n"
    assert "never closed" in reason(tmp_path, "a.eml", mail.format(" ").encode())
    assert case(tmp_path, "b.eml", mail.format("Whole.").encode()).narrative == "Whole."


def test_html_with_elements_within_hidden_ones_is_read() -> None:
    assert text_of_html("<body><svg><title>a<path/></svg>Text") == "Text"
    assert text_of_html("<title>a<title>b</title>Text") == "Text"
    assert text_of_html("<title>a<style>b</style></title>Text <3 and <") == "Text <3 and <"


@pytest.mark.parametrize("body", ["U2hlIHdhaXRlZ", "U2hlIHdhaXRlZC", "U2hl\n-- \nThe list", "She waited.", "%%%"])
def test_an_email_whose_base64_is_damaged_is_rejected(tmp_path: Path, body: str) -> None:
    content = f"From: a@b\nContent-Transfer-Encoding: base64\n\n{body}\n"
    assert "cut short or damaged" in reason(tmp_path, "a.eml", content.encode())


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


def test_a_full_disk_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    content = zip_of(("a.txt", "One"), ("b.txt", "Two"))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", fails)
        (item,) = read(tmp_path, "a.zip", content)
    assert isinstance(item, Reject)
    assert item.rest_unread
    assert "cannot be read to its end (No space left" in item.reason


def test_the_levels_of_an_archive_are_given_back_whatever_happens(tmp_path: Path) -> None:
    def fails(path: Path) -> Any:
        raise FileNotFoundError

    (tmp_path / "a.zip").write_bytes(zip_of(("a.txt", "One")))
    room = archive.Room()
    with pytest.raises(FileNotFoundError):
        list(archive.read_archive(tmp_path / "a.zip", room, fails))
    assert room.levels_left == archive.MAX_LEVELS


def test_only_empty_folders_of_an_archive_are_passed_over(tmp_path: Path) -> None:
    items = read(tmp_path, "a.zip", zip_of(("x/", ""), ("y.docx/", word(paragraph("Text"))), ("x/a.txt", "One")))
    assert [(type(item), item.file.split("a.zip/")[1]) for item in items] == [(Reject, "y.docx/"), (Case, "x/a.txt")]


def test_the_list_of_members_is_measured_as_zipfile_finds_it() -> None:
    def measured(end: bytes) -> int:
        return unpacking.directory_bytes(io.BytesIO(bytes(1000) + end))

    def end(size: int, disks: bytes = bytes(4), comment: bytes = b"") -> bytes:
        return b"PK\5\6" + disks + struct.pack("<HHLLH", 1, 1, size, 0, len(comment)) + comment

    def end_64(size: int, place: int) -> bytes:
        record = b"PK\6\6" + bytes(36) + struct.pack("<QQ", size, 0)
        return record + b"PK\6\7" + struct.pack("<LQL", 0, place, 1)

    assert measured(end(700)) == 700
    assert measured(end(700, comment=b"a comment")) == 700
    assert measured(end(700, disks=b"PK\5\6")) == 700
    assert measured(b"") == 0
    assert measured(end_64(800, 1000) + end(7)) == 800
    # Newer releases of Python believe the record that is pointed to, older ones the one before the locator.
    assert measured(end_64(800, 0) + end_64(9, 1000) + end(7)) == 800
    assert measured(end_64(9, 0) + end_64(800, 1000) + end(7)) == 800
    assert measured(end_64(1 << 40, 1 << 63) + end(7)) == 1000 + 76 + 22


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_parser_that_waits_is_stopped_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a.eml")
    monkeypatch.setattr(sandbox, "_SECONDS_BY_THE_CLOCK", 0.3)
    one = sandbox._Worker()
    try:
        with pytest.raises(sandbox._StoppedError):
            one.ask({"path": str(tmp_path / "a.eml"), "max_characters": 10, "seconds": 10})
    finally:
        one.stop()


def test_a_process_that_does_not_answer_or_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Starting(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], **options: Any) -> None:
            super().__init__([sys.executable, "-c", "import time; time.sleep(600)"], **options)
            started.append(self)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(sandbox.subprocess, "Popen", Starting)
    monkeypatch.setattr(sandbox, "_SECONDS_TO_START", 0.3)
    assert "does not start" in reason(tmp_path, "a.docx", word(paragraph("Text")))
    monkeypatch.setattr(sandbox._Worker, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sandbox._Worker()
    assert len(started) == 2
    for process in started:
        assert process.returncode is not None
        assert process.stdin is not None
        assert process.stdin.closed
        assert process.stdout is not None
        assert process.stdout.closed


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit of memory")
def test_the_memory_of_a_parser_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    greedy = "from secondlook.readers import worker; worker._limit_memory(); bytearray(3 << 30)"
    done = subprocess.run([sys.executable, "-c", greedy], capture_output=True, text=True, check=False)
    assert "MemoryError" in done.stderr
    modest = greedy.replace("3 << 30", "3 << 29")
    done = subprocess.run([sys.executable, "-c", modest], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr

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
