"""Where the patterns find personal data: Presidio, with a blank spaCy pipeline for the words around.

Nothing is downloaded and no model is loaded: of Presidio's own recognisers only those that check a sum are taken, none
of those that ask for a list of domains. Importing this module imports spaCy, which is slow; import it where it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import groupby
from threading import Lock

import spacy
from phonenumbers import NumberParseException, parse
from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry, pattern_recognizer
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, IbanRecognizer
from spacy.language import Language

from secondlook.review.redaction.names import fold
from secondlook.review.redaction.patterns import WAYS, Identifier
from secondlook.review.redaction.replacing import Find
from secondlook.schema import Span

_THRESHOLD = 0.5
_WINDOW = 8_000
_MARGIN = 1_200  # longer than any match with the words around it
_ENGINE = Lock()


class _BlankEnglish(SpacyNlpEngine):
    """Words and where they stand; no model."""

    def load(self) -> None:
        """A tokeniser only."""
        self.nlp = {"en": _english()}  # type: ignore[assignment]

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        """The words of a text, in small letters where Presidio expects lemmas."""
        words = _english()(text)
        return NlpArtifacts(
            entities=[],
            tokens=words,
            tokens_indices=[word.idx for word in words],
            lemmas=[word.lower_ for word in words],
            nlp_engine=self,
            language=language,
        )


def find(text: str) -> Iterator[Find]:
    """Stretches of a text that a pattern takes for personal data, in no order; they may overlap.

    The text is read in windows, because Presidio compares its finds with one another.

    Args:
        text: any text that can be encoded: no lone surrogates.
    """
    for start in range(0, len(text), _WINDOW):
        first = max(0, start - _MARGIN)
        for found, identifier in _in_window(text[first : start + _WINDOW + _MARGIN]):
            span = Span(first + found.start, first + found.end)
            if start <= span.start < start + _WINDOW:
                yield Find(span, identifier, _key(identifier, text[slice(*span)]))


def _in_window(window: str) -> list[tuple[Span, Identifier]]:
    engine = _engine()
    # One at a time; what spaCy remembers of the words is forgotten at the end of the zone.
    with _ENGINE, _english().memory_zone():
        found = engine.analyze(window, "en")
        return [(Span(one.start, one.end), Identifier[one.entity_type]) for one in found]


@cache
def _english() -> Language:
    return spacy.blank("en")


@cache
def _engine() -> AnalyzerEngine:
    # Presidio leaves a pattern out, with a line in a log, if it takes a minute: a machine that slept would redact less.
    pattern_recognizer.REGEX_TIMEOUT_SECONDS = 1_000_000
    return AnalyzerEngine(
        registry=RecognizerRegistry(_recognisers()),
        nlp_engine=_BlankEnglish(),
        context_aware_enhancer=LemmaContextAwareEnhancer(
            context_prefix_count=5, context_suffix_count=1, context_matching_mode="whole_word"
        ),
        default_score_threshold=_THRESHOLD,
    )


def _recognisers() -> list[PatternRecognizer]:
    bank = Identifier.BANK.name
    alike = groupby(WAYS, key=lambda way: (way.identifier, way.context))
    return [
        IbanRecognizer(supported_entity=bank),
        CreditCardRecognizer(supported_entity=bank),
    ] + [
        PatternRecognizer(
            supported_entity=identifier.name,
            name=f"{identifier.name} {number}",
            patterns=[Pattern(f"{identifier.name} {number}", way.regex, way.score) for way in ways],
            context=list(context),
            global_regex_flags=0,
        )
        for number, ((identifier, context), ways) in enumerate(alike)
    ]


def _key(identifier: Identifier, written: str) -> str:
    """What two spellings of one number have in common."""
    if identifier is Identifier.PHONE:
        region = "GB" if written.lstrip("(").startswith("0") else "US"
        with suppress(NumberParseException):
            number = parse(written, region)
            return f"{number.country_code} {number.national_number} {number.extension}"
    return fold(written) or written
