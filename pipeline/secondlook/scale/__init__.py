"""The batch job on many cores and machines, by Ray."""

from __future__ import annotations

import os
import sys
from secrets import token_hex


def prepare_ray(address: str | None) -> None:
    """What Ray reads once, when it is imported: no usage statistics, few messages. A caller's own choice is kept.

    Ray's ports can be reached from the network. Where it is started for one run (there is no ``address``), they
    serve only whoever has that run's token.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    if address is None and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token_hex(32))
