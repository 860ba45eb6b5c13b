"""The process that parses documents, one after another: ``python -m secondlook.readers.worker``.

A line of JSON in, ``{"path": …, "max_characters": …, "seconds": …}``; a line of JSON out, a row or a
problem. It is a process of its own so that a parser that runs away can be stopped (see ``sandbox``).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from secondlook.readers.rows import Problem, Row
from secondlook.readers.sandbox import DOCUMENTS

MAX_MEMORY_BYTES = 2 << 30
"""Beyond what the process has once its parsers are loaded, which differs between machines."""

MAX_DOCUMENT_BYTES = 100_000_000

_NEEDS_EXTRA = "this kind of file is read with an extra that is not installed; run: pip install 'secondlook[documents]'"


def main() -> None:
    """Answer every line of the standard input, until it ends."""
    _load_parsers()
    _limit_memory()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii", newline="\n")
    # Whatever a parser prints must not be taken for an answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        _limit_computing(request["seconds"])
        item = parse(Path(request["path"]), request["max_characters"])
        _limit_computing(0)
        print(json.dumps(asdict(item)), file=answers, flush=True)


def parse(path: Path, max_characters: int) -> Row | Problem:
    """The one row of a document. Of a text over the limit no more is kept than shows that it is."""
    if path.stat().st_size > MAX_DOCUMENT_BYTES:
        return Problem(None, f"it has more than {MAX_DOCUMENT_BYTES:,} bytes; save its text as .txt")
    try:
        item = _parser(path.suffix.lower())(path)
    except ImportError:
        return Problem(None, _NEEDS_EXTRA)
    except MemoryError:
        return Problem(None, "it needs more memory than a document is given; split it, or save its text as .txt")
    except Exception as error:  # parsers raise whatever they meet in a damaged file
        return Problem(
            None, f"it is damaged or not as its format prescribes ({type(error).__name__}); open it and save it again"
        )
    return replace(item, narrative=(item.narrative or "")[: max_characters + 1]) if isinstance(item, Row) else item


def _parser(suffix: str) -> Callable[[Path], Row | Problem]:
    if suffix == ".docx":
        from secondlook.readers.word import read_word

        return read_word
    if suffix == ".pdf":
        from secondlook.readers.pdf import read_pdf

        return read_pdf
    from secondlook.readers.mail import read_mail

    return read_mail


def _load_parsers() -> None:
    """Those that are installed, so that no document is charged for it."""
    for suffix in DOCUMENTS:
        with suppress(ImportError):
            _parser(suffix)


def _limit_memory() -> None:
    """Where the system can: Windows and macOS have no ``/proc``, and no such limit that they keep to."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + MAX_MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, ValueError, OSError):
        return


def _limit_computing(seconds: float) -> None:
    """Let the system end this process once it has computed that long; 0 for no limit.

    Nothing here handles the signal, so even a loop within a C library ends.
    """
    if sys.platform != "win32":
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
