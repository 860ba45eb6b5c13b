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
BundlePlace = Annotated[
    str | None, typer.Option("--bundle", help="A folder, or models:/NAME@champion; the installed one if not given.")
]
DEFAULT_DESK = "runs/desk.sqlite"
DeskPlace = Annotated[
    str,
    typer.Option("--desk", envvar="SECONDLOOK_DESK", help="An SQLite file, or the URL of a PostgreSQL database."),
]
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


def find_bundle(bundle: str | None) -> Path:
    """The folder of a bundle that is named by its place or by its name in a model registry."""
    from secondlook.bundle import default_bundle

    if bundle is None:
        return default_bundle()
    if not bundle.startswith("models:/"):
        return Path(bundle)
    check_mlflow()
    from secondlook.tracking import fetch_bundle

    return fetch_bundle(bundle)


def check_mlflow() -> None:
    """Raise ConfigError where MLflow is not installed."""
    from importlib.util import find_spec

    from secondlook.errors import ConfigError

    if find_spec("mlflow") is None:
        raise ConfigError("MLflow is not installed: pip install 'secondlook[train]', or set 'tracking: null'")


def check_desk() -> None:
    """Raise ConfigError where the reviewers' desk is not installed."""
    from importlib.util import find_spec

    from secondlook.errors import ConfigError

    if any(find_spec(module) is None for module in ("sqlalchemy", "alembic", "argon2", "fastapi", "uvicorn")):
        raise ConfigError("the reviewers' desk is not installed: pip install 'secondlook[review]'")


def check_engine(on_ray: bool, address: str | None) -> None:
    """Raise ConfigError where an engine is asked for that cannot run."""
    from importlib.util import find_spec

    from secondlook.errors import ConfigError

    if address is not None and not on_ray:
        raise ConfigError("--address is that of a Ray cluster: add --engine ray, or leave it out")
    if on_ray and find_spec("ray") is None:
        raise ConfigError("Ray is not installed: pip install 'secondlook[scale]', or leave --engine out")
