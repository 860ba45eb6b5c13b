from __future__ import annotations

import re
import socket
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secondlook.config import ReviewConfig
from secondlook.review.redaction import Identifier, Redactor
from secondlook.review.redaction.names import parties_in
from secondlook.review.redaction.patterns import WAYS
from secondlook.schema import Span

pytestmark = pytest.mark.skipif(find_spec("presidio_analyzer") is None, reason="the extra 'review' is not installed")

PSEUDONYM = re.compile(rf"\[(?:{'|'.join(Identifier)}) \d+(?:/\d+)*\]")
PARTIES = ("Mr John O'Neill-Smith", "Ann Smith", "Will May")
FRAGMENTS = (
    "John", " O’Neill", "smith", "Ann Smith", "Will", " may ", "07700 900123", "+44 (0)7700 900123", "(212) 555-0134",
    "a.b@example.com", "12 Rose Lane", "Flat 2,", "BS1 4QA", "QQ 12 34 56 C", "987-65-4321", "PC 1234", "badge #4411",
    "DOB ", "born", "12/03/1980", "AB12 CDE", "reg ", "www.example.com/x", "@handle_1", "sort code 99-88-77", "account",
    "12345678", "passport ", "991234567", "case number 24-01123", "[PHONE 1]", "[PERSON 1/2]", "[PERSON", "]", "[", " ",
    "\n", ", ", ".", "1", "9", "A", "\ud800", "\x00", "😀", "\u202e", "é", "e\u0301", "█", "٣", "\u2028", "(", "+",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6), max_size=14).map("".join)
THOROUGH = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Ring 07700 900123, not 020 7946 0018.", "Ring [PHONE 1], not [PHONE 2]."),
        ("Ring 07700 900123 or +44 7700 900 123.", "Ring [PHONE 1] or [PHONE 1]."),
        ("(212) 555-0134 and 212.555.0134", "[PHONE 1] and [PHONE 1]"),
        ("Write to Jo.Bloggs@example.co.uk.", "Write to [EMAIL 1]."),
        ("I live at Flat 2, 12 Rose Lane, Bristol BS1 4QA.", "I live at [ADDRESS 1], Bristol [POSTCODE 1]."),
        ("1200 N. Oak Ave, Denver, CO 80123", "[ADDRESS 1], Denver, CO [POSTCODE 1]"),
        ("NI number QQ 12 34 56 C", "NI number [NATIONAL INSURANCE NUMBER 1]"),
        ("SSN 987-65-4321", "SSN [SOCIAL SECURITY NUMBER 1]"),
        ("PC 1234 and badge #4411 came", "PC [OFFICER NUMBER 1] and badge [OFFICER NUMBER 2] came"),
        ("DOB 12/03/1980", "DOB [DATE OF BIRTH 1]"),
        ("born on the 3rd of May 1965", "born on the [DATE OF BIRTH 1]"),
        ("His car, reg KTR 127G, and AB12 CDE", "His car, reg [PLATE 1], and [PLATE 2]"),
        ("on https://example.com/me?a=1, by @some_one", "on [ONLINE 1], by [ONLINE 2]"),
        ("sort code 99-88-77 account 12345678", "sort code [BANK 1] account [BANK 2]"),
        ("passport number 991234567", "passport number [DOCUMENT 1]"),
        ("crime ref. 42/12345/24", "crime ref. [REFERENCE 1]"),
    ],
)
def test_what_is_written_in_a_known_way_gives_way(text: str, redacted: str) -> None:
    assert Redactor().redact(text).text == redacted


@pytest.mark.parametrize(
    "text",
    [
        "On 12/03/2024 at 14:30 they came, 12 of them, and left on 3 May.",
        "It cost £1,250.00 and took 45 minutes down the road.",
        "21:09 LC31 and LC34 dispatched. 15:05 PC: two persons.",
        "I am 16 and live with my mother. On 12 May I rang.",
        "In 2023 Leeds Crown Court heard it. Form 1163, pages 340-355.",
        "By the 24 hour desk, on 120324 a man said so.",
        "He said [PHONE 3] was redacted by the office.",
        "",
    ],
)
def test_times_counts_and_dates_of_events_stay(text: str) -> None:
    redacted = Redactor().redact(text)
    assert redacted.text == text
    assert not redacted.counts


@pytest.mark.parametrize(
    ("given", "text", "redacted"),
    [
        ("Mr John O'Neill", "John O’Neill, ONEILL, O'Neill's and the O’Neills", "[1], [1], [1]'s and the [1]"),
        ("O'NEILL, John", "john oneill, J. O'Neill, J.O., O'Neill, John", "[1], [1], [1], [1]"),
        ("José Muñoz", "Jose Munoz, JOSÉ MUN\u0303OZ, jose", "[1], [1], [1]"),
        ("PC 4471 Daniel Carter-Hughes", "Carter Hughes, Hughes, Mr Carter", "[1], [1], Mr [1]"),
        ("Ann Lee Smith", "Ann Smith; Ann L. Smith; Lee", "[1]; [1]; [1]"),
        ("Will May", "I will go in may. Will said so. May did.", "I will go in may. [1] said so. [1] did."),
        ("Wei Ng", "nothing was wrong; Ng said so", "nothing was wrong; [1] said so"),
        ("Marijke van der Berg", "van der Berg at the iceberg, Berg", "[1] at the iceberg, [1]"),
        ("Kathleen Mary Brannigan", "Mary\nBrannigan", "[1]"),
        ("Ms. Latoya St. Clair", "Oak St, St. Clair", "Oak St, [1]"),
        ("unknown", "unknown", "unknown"),
        ("J", "J said so", "J said so"),
        ("(.*", "(.* said so", "(.* said so"),
    ],
)
def test_a_party_is_known_by_every_form_of_the_name(given: str, text: str, redacted: str) -> None:
    assert Redactor([given]).redact(text).text == redacted.replace("[1]", "[PERSON 1]")


def test_a_column_may_name_several_and_one_may_come_twice() -> None:
    parties = parties_in(
        ["John Smith; LEE, Ann", "J. Smith", "Lee", "Bob Ray and Cy Day", "Eve Hall, Flo Marsh", " ; "]
    )
    assert [party.words for party in parties] == [
        ("John", "Smith"), ("Ann", "LEE"), ("Bob", "Ray"), ("Cy", "Day"), ("Eve", "Hall"), ("Flo", "Marsh"),
    ]  # fmt: skip


def test_a_name_that_two_parties_share_may_be_either() -> None:
    text = Redactor(["John Smith", "Ann Smith"]).redact("Ann Smith met Smith and John.").text
    assert text == "[PERSON 2] met [PERSON 1/2] and [PERSON 1]."


def test_a_name_within_something_longer_goes_with_it() -> None:
    redacted = Redactor(["Ann Rose"]).redact("Ann Rose, 12 Rose Lane, ann.rose@example.com")
    assert redacted.text == "[PERSON 1], [ADDRESS 1], [EMAIL 1]"
    assert redacted.counts == {Identifier.PERSON: 1, Identifier.ADDRESS: 1, Identifier.EMAIL: 1}


def test_the_texts_of_a_case_share_their_pseudonyms() -> None:
    one, two = Redactor(["John Smith"]).redact_many(
        ["Smith rang 07700 900123.", "07700 900456 and 07700900123: John."], [[Span(0, 5)], [Span(17, 28)]]
    )
    assert one.text == "[PERSON 1] rang [PHONE 1]."
    assert two.text == "[PHONE 2] and [PHONE 1]: [PERSON 1]."
    assert one.text[slice(*one.spans[0])] == "[PERSON 1]"
    assert two.text[slice(*two.spans[0])] == "[PHONE 1]"


def test_pseudonyms_that_a_text_came_with_are_left_to_it() -> None:
    text = Redactor(["John Smith"]).redact("[PERSON 1] told Smith; [PHONE 1/2] is not 07700 900123").text
    assert text == "[PERSON 1] told [PERSON 2]; [PHONE 1/2] is not [PHONE 3]"


def test_references_may_stay() -> None:
    text = "case number 24-01123, 07700 900123"
    assert Redactor(references=False).redact(text).text == "case number 24-01123, [PHONE 1]"


def test_a_case_names_its_parties_in_the_columns_that_the_config_says() -> None:
    details = {"complainant": "Ann Lee", "officer": None, "unit": "Lee"}
    config = ReviewConfig(party_columns=("complainant", "officer", "missing"))
    assert Redactor.for_case(details, config).redact("Ann Lee").text == "[PERSON 1]"
    assert Redactor.for_case(details, ReviewConfig()).redact("Ann Lee").text == "Ann Lee"


def test_a_span_widens_to_the_pseudonym_that_it_cuts() -> None:
    text = "Call 07700 900123 now"
    spans = [Span(0, 4), Span(0, 8), Span(8, 10), Span(8, 21), Span(5, 17), Span(17, 21), Span(0, 21), Span(4, 5)]
    redacted = Redactor().redact(text, spans)
    assert [redacted.text[slice(*span)] for span in redacted.spans] == [
        "Call", "Call [PHONE 1]", "[PHONE 1]", "[PHONE 1] now", "[PHONE 1]", " now", "Call [PHONE 1] now", " ",
    ]  # fmt: skip


@THOROUGH
@given(TEXTS)
def test_what_is_not_replaced_is_the_same_to_the_code_point_and_in_order(text: str) -> None:
    every = [Span(at, at + 1) for at in range(len(text))]
    redacted = Redactor(PARTIES).redact(text, every)
    pseudonyms = {Span(*found.span()) for found in PSEUDONYM.finditer(redacted.text)}
    reached = 0
    for sign, span in zip(text, redacted.spans, strict=True):
        assert redacted.text[slice(*span)] == sign or span in pseudonyms
        assert span.start in (reached, reached - (span.end - span.start))  # the next one, or the same pseudonym again
        reached = span.end
    assert reached == len(redacted.text)


@THOROUGH
@given(TEXTS, st.data())
def test_spans_keep_their_order_and_hold_what_they_held(text: str, data: st.DataObject) -> None:
    offsets = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=8)))
    spans = [Span(start, end) for start, end in pairwise(offsets)]
    redacted = Redactor(PARTIES).redact(text, spans)
    starts, ends = [span.start for span in redacted.spans], [span.end for span in redacted.spans]
    assert starts == sorted(starts)
    assert ends == sorted(ends)
    for before, after in zip(spans, redacted.spans, strict=True):
        assert 0 <= after.start <= after.end <= len(redacted.text)
        kept = PSEUDONYM.sub("", redacted.text[slice(*after)])
        rest = iter(text[slice(*before)])
        assert all(sign in rest for sign in kept)  # in the same order


@THOROUGH
@given(TEXTS)
def test_redacting_twice_changes_nothing(text: str) -> None:
    redactor = Redactor(PARTIES)
    once = redactor.redact(text).text
    twice = redactor.redact(once)
    assert twice.text == once
    assert not twice.counts


@THOROUGH
@given(st.lists(st.text(max_size=12), max_size=4), st.text(max_size=30))
def test_no_list_of_parties_and_no_text_breaks_it(parties: list[str], text: str) -> None:
    redactor = Redactor(parties)
    once = redactor.redact(text + " ".join(parties)).text
    assert redactor.redact(once).text == once


@pytest.mark.parametrize(
    "unit",
    [
        "0",
        "0 7 ",
        "a.",
        "a@",
        "A1 ",
        "[",
        "(0",
        "12 Rose ",
        "one ",
        "é",
        "-",
        "/1",
        "\n",
        "J. ",
        "John ",
        "O'",
        "X" * 50,
    ],
)
def test_the_work_grows_with_the_text_and_no_faster(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from secondlook.review.redaction import engine

    read: list[int] = []
    monkeypatch.setattr(engine, "_in_window", lambda window: read.append(len(window)) or [])
    for length in (1_000, 100_000):
        read.clear()
        Redactor(PARTIES).redact((unit * length)[:length])
        assert sum(read) <= 3 * length  # a look until nothing is found, and the margins of the windows
        assert max(read) <= 12_000


@pytest.mark.parametrize("unit", ["0 7 ", "a.a-", "12 Rose ", "one ", "A1-", "1/"])
def test_hostile_repetition_is_read_to_its_end(unit: str) -> None:
    text = unit * (12_000 // len(unit)) + " 07700 900123."
    assert re.search(r"\[PHONE \d+\]\.$", Redactor().redact(text).text)


def test_no_pattern_has_an_unbounded_quantifier() -> None:
    from secondlook.review.redaction.names import Party

    patterns = [way.regex for way in WAYS] + [Party(("Ann", "van", "Lee-Hall"))._pattern.pattern]
    for pattern in patterns:
        plain = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", pattern)
        assert not re.search(r"[*+]|\{\d*,\}", plain.replace("(?<!+)", "")), pattern


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    from secondlook.review.redaction import engine

    engine._engine.cache_clear()
    assert Redactor().redact("a@example.com, www.example.com").text == "[EMAIL 1], [ONLINE 1]"


def test_importing_redaction_does_not_import_spacy() -> None:
    code = "import sys, secondlook.review.redaction; sys.exit('spacy' in sys.modules or 'presidio_analyzer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
