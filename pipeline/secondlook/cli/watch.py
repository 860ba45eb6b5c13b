"""``secondlook watch``: score what is dropped into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secondlook.cli.common import BundlePlace, find_bundle, safe


def watch(
    folder: Annotated[Path, typer.Argument(metavar="IN", help="The folder into which files are dropped.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where every file gets a run folder of its own.")],
    bundle: BundlePlace = None,
    config: Annotated[Path | None, typer.Option("--config", help="Choices, such as configs/score.yaml.")] = None,
    id_column: Annotated[str | None, typer.Option("--id-column", help="The column with case ids.")] = None,
    narrative_column: Annotated[str | None, typer.Option("--narrative-column", help="The column with texts.")] = None,
    settle: Annotated[
        float, typer.Option("--settle", help="Seconds for which a file must not change before it is scored.", min=0)
    ] = 5,
    every: Annotated[float, typer.Option("--every", help="Seconds between two looks.", min=0.05)] = 2,
    once: Annotated[bool, typer.Option("--once", help="Score what is there and has settled, then end.")] = False,
) -> None:
    """Score every file that is dropped into a folder, once, across restarts."""
    from secondlook.bundle import load_bundle
    from secondlook.config import ScoreConfig, load_config
    from secondlook.readers import ReadOptions
    from secondlook.watch import Watch

    choices = load_config(config, ScoreConfig) if config else ScoreConfig()
    options = ReadOptions(id_column, narrative_column, choices.max_characters)
    watched = Watch(
        folder, out, load_bundle(find_bundle(bundle)), choices, options, lambda line: typer.echo(safe(line))
    )
    watched.run(settle=settle, every=every, once=once)
