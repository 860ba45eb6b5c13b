"""``secondlook review export``: what the reviewers decided, as annotations."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from secondlook.cli.common import DEFAULT_DESK, DeskPlace, check_desk, safe


def export(
    run: Annotated[str, typer.Option("--run", help="The queue: its name, folder, or how its digest begins.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write; for corpus and datasets a folder.")],
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            help="corpus (a folder as labels/, with second annotations and adjudications), jsonl, label-studio, "
            "doccano, prodigy, docbin, datasets or table (CSV).",
        ),
    ] = "jsonl",
    desk: DeskPlace = DEFAULT_DESK,
    redact: Annotated[
        bool,
        typer.Option("--redact", help="Replace personal data in known patterns, and the parties' names."),
    ] = False,
    since: Annotated[
        datetime | None, typer.Option("--since", help="Finished on this day or later (UTC).", formats=["%Y-%m-%d"])
    ] = None,
    reviewer: Annotated[
        str | None, typer.Option("--reviewer", help="Cases that this account read: its name or pseudonym.")
    ] = None,
    codebook: Annotated[
        Path | None, typer.Option("--codebook", help="The codebook; the run's own if not given.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="For --redact: which columns name parties."),
    ] = None,
) -> None:
    """Write what reviewers decided as annotations with how they came about; the record says that it was written."""
    check_desk()
    from secondlook.codebook import load_codebook
    from secondlook.config import ReviewConfig, load_config
    from secondlook.review.database import open_desk
    from secondlook.review.exports import Selection
    from secondlook.review.exports import export as run_export

    choices = load_config(config, ReviewConfig)
    if redact and not choices.party_columns:
        typer.echo("no name is replaced: say with --config which columns name the parties (party_columns)", err=True)
    with open_desk(desk) as opened:
        done = run_export(
            opened,
            run,
            kind,
            out,
            datetime.now(UTC),
            selection=Selection(since.date() if since else None, reviewer),
            codebook=load_codebook(codebook) if codebook else None,
            redact=choices if redact else None,
        )
    typer.echo(f"{done.counts['annotations']} annotations written to {safe(str(out))}")
    if done.counts["second"]:
        typer.echo(
            f"read twice: {done.counts['second']}; modes settled by an adjudicator: {done.counts['adjudications']}"
        )
    for what, count in done.left_out.items():
        typer.echo(f"left out: {what}: {count}", err=True)
    typer.echo(f"SHA-256 {done.digest}")
