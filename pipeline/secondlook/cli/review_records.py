"""``secondlook review audit``, ``backup`` and ``restore``: whether a desk is what it was, and how it is kept safe."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.common import DEFAULT_DESK, DeskPlace, check_desk, progress_bar, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secondlook.review.inquiry import Event, History, Verification

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", help="The backup: a single file, itself a desk.")]


def audit(
    desk: DeskPlace = DEFAULT_DESK,
    case: Annotated[
        str | None, typer.Option("--case", help="Who saw this case, what the model said, what was decided.")
    ] = None,
    on: Annotated[
        datetime | None,
        typer.Option("--on", help="With --case: why it was flagged or not on this day (UTC).", formats=["%Y-%m-%d"]),
    ] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="With --case: without the id, nor personal data in reviewers' words.")
    ] = False,
    config: Annotated[Path | None, typer.Option("--config", help="With --redact: which columns name parties.")] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="HASH", help="A last hash that an earlier audit gave.")
    ] = None,
) -> None:
    """Check the record, every case and every review against each other; with --case, tell one case's history."""
    check_desk()
    from secondlook.config import ReviewConfig, load_config
    from secondlook.errors import DeskError
    from secondlook.review.database import open_desk
    from secondlook.review.inquiry import history, verify

    if case is None and (on is not None or redact):
        raise DeskError("--on and --redact ask about one case: give --case, too")
    choices = load_config(config, ReviewConfig)
    with open_desk(desk) as opened, opened.reading() as session:
        if case is not None:
            _tell(history(session, case, choices if redact else None), on)
            return
        with progress_bar() as progress:
            found = verify(session, expect, progress)
        _report(found, opened.name)


def backup(to: BackupFile, desk: DeskPlace = DEFAULT_DESK) -> None:
    """Copy a desk to one new file, while it is in use."""
    check_desk()
    from secondlook.review.backup import backup as run_backup
    from secondlook.review.database import open_desk

    with open_desk(desk) as opened:
        copied = run_backup(opened, to)
    typer.echo(safe(f"{to}: {copied.entries} entries in its record, the last hash {copied.head}"))
    typer.echo("Narratives are in it as they are: keep it where only those may read it who may read them.")


def restore(
    backup: BackupFile,
    desk: DeskPlace = DEFAULT_DESK,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the desk that is there; it is kept aside.")
    ] = False,
) -> None:
    """Bring a desk back from a backup, once the backup is checked. Everybody signs in anew."""
    check_desk()
    from secondlook.review.backup import restore as run_restore

    copied = run_restore(backup, desk, overwrite=overwrite)
    typer.echo(safe(f"The desk is back: {copied.entries} entries in its record, the last hash {copied.head}"))
    if copied.earlier is not None:
        typer.echo(safe(f"The desk that was there is kept: {copied.earlier}"))


def _report(found: Verification, desk: str) -> None:
    for problem in found.problems:
        typer.echo(safe(problem))
    if found.problems:
        sys.exit(
            f"secondlook: {safe(desk)}: is not what it was; nothing on it is to be relied on until that is explained"
        )
    counted = {"entry": found.entries, "run": found.runs, "case": found.cases, "review": found.reviews}
    typer.echo(f"{', '.join(_count(number, what) for what, number in counted.items())}: all as recorded")
    typer.echo(f"The last hash, to be kept elsewhere and given with --expect next time: {found.head}")


def _count(number: int, what: str) -> str:
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{number:,} {what if number == 1 else several}"


def _tell(found: History, on: datetime | None) -> None:
    """A case's history: what the model said, who looked, what was decided."""
    from secondlook.review.inquiry import on_that_day

    day = (on or datetime.now(UTC)).date()
    typer.echo(safe(f"Case {found.case_id}, on {day}:"))
    for sentence in on_that_day(found, day):
        typer.echo(safe(f"  {sentence}"))
    _list("Seen:", found.seen, "nobody has seen it on this desk")
    _list("Decided:", found.work, "nothing was decided on this desk")


def _list(title: str, events: Sequence[Event], none: str) -> None:
    typer.echo(title)
    for event in events:
        said = f": {event.what}" if event.what else ""
        typer.echo(safe(f"  {event.at[:19].replace('T', ' ')} UTC  {event.actor}  {event.action}  ({event.run}){said}"))
    if not events:
        typer.echo(f"  {none}")
