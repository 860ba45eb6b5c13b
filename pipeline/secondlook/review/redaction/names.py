"""Parties: who are they, and where does a narrative name them? By all forms of their names.

That is the full name, first or last name alone, initials, either order, capitals, with or without accents. A
single word in small letters counts only where it is no word of English.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from secondlook.schema import Span


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TITLES = _set_of("""
mr mrs ms miss mx dr prof professor sir dame lord lady rev reverend father sister pc pcso dc ds di ps dci dcs
wpc sgt sergeant insp inspector supt superintendent chief ch constable con det detective officer ofc deputy lt
lieutenant capt captain cpl corporal trooper agent sheriff commander commissioner judge hon jr sr snr jnr ii iii
iv esq mbe obe qpm unknown none nil
""")
"""What stands with a name and is none; "none" and the like stand where there is no party."""

_PARTICLES = _set_of("""
van von der den de del della di da dos du la le al el bin binti ibn ap ben ní ni nic ó o st
""")
"""Parts of a surname that name nobody alone."""

_WORDS_TOO = _set_of("""
amber angel april archer art august autumn baker ball banks barber bell berry best bill bishop black blue bond
booth bowl bridge bright brook brooks brown bush butler carol carpenter carter case chance charity chase
christian church clay cliff cook cooper cross daisy dale dawn day dean drake drew earl english faith field
fields finch fisher flower forest fox frank french friend gay gene gift grace grant gray green grey guy hall
hand hardy hart hazel heather hill holiday holly home hood hope house hunt hunter iris ivy jack jade jay jean
jewel joy june justice key king knight lake lane law leaf lily little long love major mark marsh marshall mason
may melody mercy miles mill miller moon morning nice nick noble page paige park parker parks patience pearl
penny pepper pike pleasant pool pope potter power price prince queen ray read red reed rich rivers rob robin
rock rose rosemary ruby rush sage sally sandy savage sharp shepherd short singer skip smart smith sparks stone
street strong summer summers swift tanner taylor temple terry tony tower turner van victor violet walker wall
ward waters weaver webb wells west white will win winter wise wood woods young
""")
"""Names that are words as well: in small letters they are taken for the word."""

_LETTERS = {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "ß": "s", "æ": "a", "œ": "o"}
_SHORT = 6  # letters: a first and a last name written as one may be a word where both are short
_MARKS = "[\u0300-\u036f]{0,3}"
_APOSTROPHE, _HYPHEN = "['’‘ʼ`´]", "[-‐‑–]"
_SPLIT = re.compile(r"[;|\n/]|\s&\s|\s+(?:and|und|et)\s+", re.IGNORECASE)
_WORD = re.compile(rf"[^\W\d_](?:(?:{_APOSTROPHE}|{_HYPHEN})?[^\W\d_]|[\u0300-\u036f])*")
_HALVES = re.compile(_HYPHEN)


@dataclass(frozen=True)
class Party:
    """A person by the words of the name in their order, titles left out."""

    words: tuple[str, ...]

    def covers(self, other: Party) -> bool:
        """Whether the other's words, some of them initials perhaps, are all among these."""
        left = [fold(word) for word in self.words]
        for word in map(fold, other.words):
            same = next((one for one in left if one == word or (len(word) == 1 and one.startswith(word))), None)
            if same is None:
                return False
            left.remove(same)
        return True

    def find(self, text: str) -> Iterator[Span]:
        """Where a text names this person."""
        for match in self._pattern.finditer(text):
            yield Span(*match.span())

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Several words of the name, or initials and a word, or initials, or one word alone."""
        names = _parts(self.words)
        if not names:
            return re.compile(r"(?!)")
        name, last, given = map(_any_of, (names, _parts(self.words[-1:]), _parts(self.words[:-1])))
        particles = rf"(?:(?i:{'|'.join(sorted(_PARTICLES, key=_longest))})\.?\s){{0,3}}"
        letters = [_capital(word[0]) for word in self.words]
        initial = f"(?:{'|'.join(letters)})"
        forms = [
            rf"{last},\s{{1,3}}{given}(?:\s{{1,3}}{given}){{0,3}}",
            rf"{name}(?:(?:\s{{1,3}}|[.\-_])(?:[A-Z]\.?\s)?{particles}{name}){{1,5}}",
            rf"(?:{initial}(?:\.\s?|\s)){{1,3}}{particles}{name}",
            particles + "(?:" + "|".join(map(_alone, names)) + ")",
        ]
        if len(self.words) > 1 and len(self.words[0] + self.words[-1]) > _SHORT:
            forms.append(f"(?i:{_spelt(self.words[0] + self.words[-1])})")
        initials = rf"{letters[0]}\.\s?(?:[A-Z]\.\s?)?{letters[-1]}\." if len(letters) > 1 else "(?!)"
        trailing = rf"(?:,?\s{initial}\.(?!\s?[A-Z]))?"
        return re.compile(rf"(?<!\w)(?:(?:{'|'.join(forms)})(?:e?s)?(?!\w){trailing}|{initials})")


def parties_in(values: Iterable[str]) -> list[Party]:
    """The persons that a case's columns name, each once, in their order; several may stand in one value.

    >>> [party.words for party in parties_in(["Mr John O'Neill; SMITH, Ann", "J. O'Neill"])]
    [('John', "O'Neill"), ('Ann', 'SMITH')]
    """
    named = [party for value in values for part in _SPLIT.split(value) for party in _read(part)]
    parties: list[Party] = []
    for party in sorted(named, key=lambda party: -len("".join(party.words))):
        if not any(known.covers(party) for known in parties):
            parties.append(party)
    return sorted(parties, key=named.index)


def fold(text: str) -> str:
    """Small letters and digits without accents: what two spellings of one thing have in common.

    >>> fold("Siobhán O’Neill") == fold("SIOBHAN ONEILL")
    True
    """
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(_LETTERS.get(sign, sign) for sign in plain if sign.isalnum())


def _read(part: str) -> Iterator[Party]:
    """One value's persons: "Last, First" is one, "First Last, First Last" are two."""
    pieces = [words for piece in part.split(",") if (words := _words(piece))]
    if len(pieces) == 2 and min(map(len, pieces)) == 1:
        pieces = [(*pieces[1], *pieces[0])]
    for words in pieces:
        yield Party(words)


def _words(piece: str) -> tuple[str, ...]:
    return tuple(word for word in _WORD.findall(piece) if word.casefold() not in _TITLES)


def _parts(words: Sequence[str]) -> list[str]:
    """Words that name somebody by themselves, and the halves of those with a hyphen, the longest first."""
    parts = {part for word in words for part in (word, *_HALVES.split(word))}
    return sorted({part for part in parts if len(part) > 1 and part.casefold() not in _PARTICLES}, key=_longest)


def _any_of(names: Sequence[str]) -> str:
    return "(?i:" + "|".join(map(_spelt, names)) + ")" if names else "(?!)"


def _longest(name: str) -> tuple[int, str]:
    return -len(name), name


def _alone(name: str) -> str:
    """A word by itself: in any letters, or with a capital where it could be another word."""
    if len(name) > 2 and fold(name) not in _WORDS_TOO:
        return f"(?i:{_spelt(name)})"
    return f"{_capital(name[0])}(?i:{_spelt(name[1:])})"


def _spelt(name: str) -> str:
    """A pattern for a word with or without its accents, apostrophes and hyphens."""
    return "".join(map(_sign, unicodedata.normalize("NFC", name)))


def _sign(sign: str) -> str:
    if re.fullmatch(_APOSTROPHE, sign):
        return rf"(?:{_APOSTROPHE}\s?|\s)?"
    if re.fullmatch(_HYPHEN, sign):
        return rf"(?:{_HYPHEN}|\s)?"
    if unicodedata.combining(sign):
        return ""
    return f"[{''.join(map(re.escape, _variants(sign)))}]{_MARKS}"


def _capital(sign: str) -> str:
    capitals = sorted({one.upper() for one in _variants(sign) if len(one.upper()) == 1})
    return f"[{''.join(map(re.escape, capitals))}]{_MARKS}"


def _variants(sign: str) -> str:
    """A letter with all the accents that it can have, in small letters; any other sign itself."""
    return _accented().get(fold(sign), "") + sign.lower()[0]


@cache
def _accented() -> dict[str, str]:
    variants: dict[str, str] = {}
    for sign in map(chr, (*range(0x61, 0x250), *range(0x1E00, 0x1F00))):
        if sign.isalpha() and sign.islower() and len(base := fold(sign)) == 1:
            variants[base] = variants.get(base, "") + sign
    return variants
