"""Documents are parsed in a process that can be stopped: a hostile one must not hold up the others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from secondlook.readers.options import ReadOptions
from secondlook.readers.rows import Problem, Row

DOCUMENTS = frozenset({".docx", ".eml", ".pdf"})
SECONDS = 10.0
"""Of computing, which a document takes as much of on a busy machine as on an idle one."""

_SECONDS_BY_THE_CLOCK = 60.0 if hasattr(signal, "setitimer") else SECONDS
"""For a document that waits rather than computes, and for systems that cannot limit computing."""

_SECONDS_TO_START = 120.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Parsers need no more, and each reserves memory that counts towards the limit."""


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
            answer = self._worker.ask({"path": str(path), "max_characters": options.max_characters, "seconds": SECONDS})
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
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=os.environ | _ONE_THREAD
        )
        try:
            self._answer(_SECONDS_TO_START)
        except BaseException:
            # Whoever asked for this worker does not have it yet, so could not stop it.
            self.stop()
            raise

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin  # noqa: S101
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer(_SECONDS_BY_THE_CLOCK)

    def stop(self) -> None:
        """End the process, and close the pipes to it."""
        self._process.kill()
        self._process.communicate()

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout  # noqa: S101
        over = threading.Event()
        timer = threading.Timer(seconds, self._end, [over])
        timer.daemon = True
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        timer.join()
        if over.is_set() or not line.endswith(b"\n"):
            raise _StoppedError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self, over: threading.Event) -> None:
        over.set()
        self._process.kill()
