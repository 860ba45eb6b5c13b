"""What several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

ConfigFile = Annotated[Path, typer.Argument(help="A file such as configs/linear.yaml.")]
CodebookFile = Annotated[Path, typer.Option("--codebook", help="The codebook.")]
AdjudicationsPath = Annotated[Path, typer.Option("--adjudications", help="What was decided between annotators.")]
AnnotationsPath = Annotated[Path, typer.Option("--annotations", help="A JSONL file or a folder of them.")]


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on standard error; silent where that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    terminal = Console(stderr=True)
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        yield progress


def safe(message: str) -> str:
    """A message without control characters: file names and ids come from outside."""
    return "".join(c if c == "\n" or c.isprintable() else "·" for c in message)
