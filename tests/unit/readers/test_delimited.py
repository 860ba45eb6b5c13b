from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from secondlook.readers import ReadOptions, read_cases
from secondlook.schema import Case, Reject

PROSE = "She said “no” – it cost £5. He replied ‘don’t’ and left the café."


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[Case | Reject]]:
    def read_content(content: str | bytes, name: str = "in.csv", **options: object) -> list[Case | Reject]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return list(read_cases([path], ReadOptions(**options)))  # type: ignore[arg-type]

    return read_content


def outline(items: list[Case | Reject]) -> list[tuple[int | None, str | None, bool]]:
    return [(item.row, item.case_id, isinstance(item, Case)) for item in items]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_the_one_that_gives_the_columns(read: Callable[..., list[Case]], separator: str) -> None:
    (case,) = read(f"Case ID{separator}Narrative\na{separator}Text\n")
    assert (case.case_id, case.narrative, case.row) == ("a", "Text", 2)


def test_a_declared_separator_is_used_and_its_line_is_not_counted(read: Callable[..., list[Case]]) -> None:
    (case,) = read("sep=;\r\ncase_id;narrative\r\na;Text, more\r\n")
    assert (case.narrative, case.row) == ("Text, more", 2)


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "cp1252", "mac_roman", "utf-16-le", "utf-16-be", "utf-32"],
)
def test_encodings_of_western_text(read: Callable[..., list[Case]], encoding: str) -> None:
    (case,) = read(f"case_id,narrative\r\na,{PROSE}\r\n".encode(encoding))
    assert case.narrative == PROSE


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "Café déjà vu; it cost £5 and ¿qué?"),
        ("cp1252", "It cost £5."),
        ("cp1252", "Der Beamte kam spät – „später“, sagte er."),
        ("mac_roman", "It’s the officer’s word"),
        ("cp850", "Le policier a refusé d’écouter".replace("’", "'")),
        ("cp1251", "Он сказал, что полиция не приехала вовремя. Жалоба на сотрудника полиции."),
        ("cp1250", "Zażółć gęślą jaźń. Policja przyjechała późno i nie słuchała skargi."),
        ("cp932", "警察官は午後に到着しましたが、話を聞きませんでした。"),
    ],
)
def test_other_code_pages(read: Callable[..., list[Case]], encoding: str, text: str) -> None:
    content = "case_id\tnarrative\r\n" + "".join(f"{n}\t{text}\r\n" for n in range(20))
    assert {case.narrative for case in read(content.encode(encoding), "in.tsv")} == {text}


def test_a_stray_byte_in_utf8_rejects_its_row_only(read: Callable[..., list[Case | Reject]]) -> None:
    content = "case_id,narrative\na,Café\nb,".encode() + b"Caf\xe9\nc," + "Né\n".encode()
    items = read(content)
    assert outline(items) == [(2, "a", True), (3, "b", False), (4, "c", True)]
    assert "UTF-8" in items[1].reason  # type: ignore[union-attr]


def test_quoted_line_breaks_are_kept_and_rows_count_as_a_spreadsheet_shows(
    read: Callable[..., list[Case]],
) -> None:
    first, second = read('case_id,narrative\r\na,"One\r\ntwo\n\rthree ""four"""\r\n\r\nb, Five \r\n')
    assert (first.narrative, first.row) == ('One\r\ntwo\n\rthree "four"', 2)
    assert (second.narrative, second.row) == (" Five ", 4)


def test_metadata_are_all_other_columns(read: Callable[..., list[Case]]) -> None:
    (case,) = read("case_id, Date ,narrative,x,x,\na,2024,Text,,1,2\n")
    assert case.metadata == {"Date": "2024", "x": None, "x (2)": "1", "column 6": "2"}


def test_rows_that_do_not_fit_the_header(read: Callable[..., list[Case | Reject]]) -> None:
    items = read("case_id,narrative,note\na,b,c,d\ne,Text\nf\n")
    assert outline(items) == [(2, None, False), (3, "e", True), (4, "f", False)]
    assert "4 fields but the header has 3" in items[0].reason  # type: ignore[union-attr]
    assert items[1].metadata == {"note": None}  # type: ignore[union-attr]


def test_a_quote_left_open_is_named_with_its_line(read: Callable[..., list[Case | Reject]]) -> None:
    items = read('case_id,narrative\na,Text\nb,"Open\nc,Lost\nd,Lost\n')
    assert outline(items) == [(2, "a", True), (3, None, False)]
    assert "line 3 is never closed" in items[1].reason  # type: ignore[union-attr]


def test_a_quote_left_open_is_given_up_before_it_fills_the_memory(
    read: Callable[..., list[Case | Reject]],
) -> None:
    items = read('case_id,narrative\na,"' + "word\n" * 300_000, max_characters=100)
    assert outline(items) == [(2, None, False)]


def test_a_quote_that_is_not_doubled_rejects_its_lines(read: Callable[..., list[Case | Reject]]) -> None:
    items = read('case_id,narrative,n\na,"He said "stop" and\nleft","1"\nb,Text,2\n')
    assert [item.row for item in items if isinstance(item, Case)] == [4]
    assert all(item.row in (2, 3) for item in items if isinstance(item, Reject))


def test_the_field_limit_is_ours_and_the_process_keeps_its_own(
    read: Callable[..., list[Case | Reject]],
) -> None:
    limit = csv.field_size_limit()
    items = read("case_id,narrative\na," + "x" * 200_000 + "\nb,Text\n", max_characters=150_000)
    assert outline(items) == [(2, "a", False), (3, "b", True)]
    assert "more than the 150,000 characters" in items[0].reason  # type: ignore[union-attr]
    assert csv.field_size_limit() == limit


def test_missing_columns_reject_the_file_with_hints(read: Callable[..., list[Reject]]) -> None:
    (reject,) = read("case_id,narative\na,secret\n")
    assert reject.row is None
    for part in ("'narative'", "did you mean", "--id-column", "--narrative-column"):
        assert part in reject.reason
    (reject,) = read("ref,narrative\na,secret\n")
    assert "'case_id'" in reject.reason


def test_a_file_without_header_does_not_leak_its_first_narrative(read: Callable[..., list[Reject]]) -> None:
    (reject,) = read(f"17,{PROSE.replace(',', '')} And so on.\n")
    assert "café" not in reject.reason


def test_named_columns(read: Callable[..., list[Case]]) -> None:
    (case,) = read("Ref,What happened\na,Text\n", id_column="ref", narrative_column="What happened")
    assert (case.case_id, case.narrative) == ("a", "Text")


def test_nul_bytes_do_not_stop_the_reading(read: Callable[..., list[Case | Reject]]) -> None:
    prose, nuls = "word " * 20, "\0" * 9
    items = read(f"case_id,narrative\na,{prose}\0\nb,{prose}{nuls}\nc,Text\n")
    assert outline(items) == [(2, "a", True), (3, "b", False), (4, "c", True)]


@pytest.mark.parametrize("content", ["case_id,narrative\n", "\n\n", "\ufeff"])
def test_a_table_without_rows_is_one_reject(read: Callable[..., list[Reject]], content: str) -> None:
    (reject,) = read(content)
    assert reject.row is None
    assert "no rows" in reject.reason
