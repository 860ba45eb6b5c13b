"""What makes a row fit to score. Reasons say what to do, and never quote a narrative."""

from __future__ import annotations

import unicodedata

from secondlook.schema import Case, Reject

JUNK_SHARE = 0.05
"""Above this share of control and replacement characters a text is binary, not a text with blemishes:
a scanned page's stray form feeds stay far below, a program or an image far above."""

_LAYOUT = frozenset("\t\n\r\f\v\x1c\x1d\x1e\x1f\x85")


class Checker:
    """Checks cases as they come; it remembers ids, because an id may stand only once in a run."""

    def __init__(self, max_characters: int) -> None:
        self._max_characters = max_characters
        self._first: dict[str, str] = {}

    def check(self, case: Case) -> Case | Reject:
        """The case itself, or why it cannot be scored."""
        reason = self._id_reason(case) or narrative_reason(case.narrative, self._max_characters)
        if reason:
            return Reject(case.file, case.row, _printable(case.case_id) or None, reason)
        self._first[case.case_id] = f"{case.file}, row {case.row}"
        return case

    def _id_reason(self, case: Case) -> str | None:
        if not case.case_id:
            return "the row has no case id: give it one"
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in case.case_id):
            return "the case id holds control characters: correct it"
        if case.case_id in self._first:
            return f"the id '{_printable(case.case_id)}' was used before ({self._first[case.case_id]}): ids must differ"
        return None


def narrative_reason(narrative: str, max_characters: int) -> str | None:
    """Why a narrative cannot be scored, or None."""
    if len(narrative) > max_characters:
        return f"the narrative has {len(narrative):,} characters, over the limit of {max_characters:,}: split it"
    if not any(_visible(character) for character in narrative):
        return "the narrative is empty: fill it in"
    if any("\ud800" <= character <= "\udfff" for character in narrative):
        return "the narrative holds half of a surrogate pair, which is not valid Unicode: export it again as UTF-8"
    junk = sum(_junk(character) for character in narrative)
    if junk > JUNK_SHARE * len(narrative):
        return "the narrative is binary data, or text in another encoding than the rest: export it again as UTF-8"
    return None


def _visible(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf", "Zs", "Zl", "Zp")


def _junk(character: str) -> bool:
    return character == "\ufffd" or (unicodedata.category(character) == "Cc" and character not in _LAYOUT)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "·" for c in text[:80])
