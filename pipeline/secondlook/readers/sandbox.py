"""Documents are parsed in a process that can be stopped: a hostile one must not hold up the others."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Problem, Row

DOCUMENTS = frozenset({".docx", ".eml", ".pdf"})
SECONDS = 10.0
_SECONDS_TO_START = 120.0


class Sandbox:
    """Reads documents in one process, started for the first of them and again after one that stopped it."""

    def __init__(self) -> None:
        self._worker: _Worker | None = None

    def read(self, path: Path, options: ReadOptions) -> Row | Problem:
        """The one row of a document, or why there is none."""
        try:
            self._worker = self._worker or _Worker()
        except (OSError, _StoppedError):
            return Problem(None, "the process that parses documents does not start; check memory and installation")
        try:
            answer = self._worker.ask({"path": str(path), "max_characters": options.max_characters})
        except (OSError, _StoppedError):
            self.close()
            return Problem(
                None,
                f"parsing it took more than {SECONDS:g} seconds or more memory than a document is given;"
                " open it and save it again, or save its text as .txt",
            )
        return Problem(**answer) if "reason" in answer else Row(**answer)

    def close(self) -> None:
        """Stop the process, if there is one."""
        if self._worker:
            self._worker.stop()
        self._worker = None


class _StoppedError(Exception):
    """The process ended before it answered, by itself or because its time was over."""


class _Worker:
    def __init__(self) -> None:
        # -P: a folder of cases may hold a json.py, which must not be imported.
        command = [sys.executable, "-P", "-m", "secondlook.readers.worker"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._answer(_SECONDS_TO_START)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin  # noqa: S101
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer(SECONDS)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101
        over = threading.Event()
        timer = threading.Timer(seconds, self._end, [over])
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        timer.join()
        if over.is_set() or not line.endswith(b"\n"):
            raise _StoppedError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self, over: threading.Event) -> None:
        over.set()
        self._process.kill()
