"""Every error that Second Look raises on purpose.

The whole tree, so that a caller can choose how much to catch::

    SecondLookError
    ├── ConfigError        a config file has an unknown key or a value that does not fit
    ├── CodebookError      the codebook is not valid
    ├── CorpusError        annotations that do not fit the codebook or their own text
    ├── SplitError         a split that leaks, or does not cover the corpus
    ├── InputError         an input to score that cannot be read at all
    ├── TrainingError      a corpus that cannot train the model asked for
    ├── BundleError        a bundle that is missing, incomplete or of another format
    │   └── DigestError    a bundle whose bytes are not those its manifest records
    ├── RunError           an output folder that cannot be written or read
    │   └── OtherWorkError  unfinished work there that rests on something else
    └── DeskError          a reviewers' desk that cannot be opened, read or written
        ├── RefusedError    somebody may not do that
        ├── ConflictError   somebody else, or another window, was there first
        ├── MissingError    what was asked for is not there
        └── UnavailableError  the database cannot be read or written now

Messages name the file, the place in it and the next thing to do. They never quote a narrative:
what people reported must not end up in a terminal's scrollback or a log file.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SecondLookError(Exception):
    """Base of all errors raised on purpose; the command line prints them without a traceback."""


class ConfigError(SecondLookError):
    """A configuration that cannot be used."""


class CodebookError(SecondLookError):
    """A codebook that cannot be used."""


class CorpusError(SecondLookError):
    """Annotations that do not fit the codebook or their own text."""


class SplitError(SecondLookError):
    """A split that leaks between its parts, or does not cover the corpus."""


class InputError(SecondLookError):
    """An input that cannot be read at all (single bad rows are rejected, not raised)."""


class TrainingError(SecondLookError):
    """A corpus that cannot train the model asked for."""


class BundleError(SecondLookError):
    """A bundle that is missing, incomplete or of another format."""


class DigestError(BundleError):
    """A bundle whose bytes are not those that its manifest records."""


class RunError(SecondLookError):
    """An output folder that cannot be written or read."""


class OtherWorkError(RunError):
    """Unfinished work that rests on other inputs, another bundle, configuration or versions."""


class DeskError(SecondLookError):
    """A reviewers' desk that cannot be opened, read or written, or that lacks what was asked for."""


class RefusedError(DeskError):
    """What this account may not do."""


class ConflictError(DeskError):
    """A change to something that has changed since it was read: read it again."""


class MissingError(DeskError):
    """A case, a queue or an account that is not there."""


class UnavailableError(DeskError):
    """A database that cannot be read or written now: locked, full, gone."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint to append to a message, or an empty string.

    >>> did_you_mean("no_welfare_chek", ["no_welfare_check", "information_leaked"])
    " (did you mean 'no_welfare_check'?)"
    >>> did_you_mean("zebra", ["no_welfare_check"])
    ''
    """
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
