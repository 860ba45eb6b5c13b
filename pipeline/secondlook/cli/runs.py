"""``secondlook verify`` and ``secondlook diff``: what a run says, checked, and two runs compared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secondlook.cli.common import BundlePlace, find_bundle, progress_bar, safe

if TYPE_CHECKING:
    from secondlook.errors import SecondLookError
    from secondlook.runs import Mismatch

MOST_SHOWN = 500

RunFolder = Annotated[Path, typer.Argument(help="A folder that 'secondlook score' wrote.")]


def verify(
    run: RunFolder,
    bundle: BundlePlace = None,
    reencode: Annotated[
        bool, typer.Option("--reencode", help="Encode every narrative again, and without its evidence.")
    ] = False,
    case: Annotated[str | None, typer.Option("--case", help="Show this case only.")] = None,
    show: Annotated[int, typer.Option("--show", help="Show the first N cases.", min=0)] = 5,
    out: Annotated[Path | None, typer.Option("--out", help="Write every score without its evidence as CSV.")] = None,
) -> None:
    """Check a run: digests, counts, every score computed again from its passages, and without its evidence."""
    from secondlook.terminal import console, coverage_lines, skipped_table, without_evidence_table
    from secondlook.verify import verify as run_verify
    from secondlook.verify import write_effects

    with progress_bar() as progress:
        found = run_verify(run, _bundle_or_why_not(bundle), reencode=reencode, case_id=case, progress=progress)
    terminal = console()
    if found.effects and (show or case):
        terminal.print(without_evidence_table(found.effects, show or 1, every_mode=case is not None))
    if case:
        terminal.print(skipped_table(found.coverage.stretches))
    for line in coverage_lines(found.coverage):
        terminal.print(line, soft_wrap=True)
    if out:
        write_effects(out, found.effects)
        terminal.print(f"Every score without its evidence: {safe(str(out))}", soft_wrap=True)
    _stop_on_problems(run, found.problems)
    terminal.print(f"{found.coverage.narratives} cases, every score computed again: no problems")


def _bundle_or_why_not(bundle: str | None) -> Path | SecondLookError:
    """A bundle that cannot be found is a problem like others: the rest of a run is checked all the same."""
    from secondlook.errors import SecondLookError

    try:
        return find_bundle(bundle)
    except SecondLookError as cause:
        return cause


def _stop_on_problems(run: Path, problems: Sequence[Mismatch]) -> None:
    for problem in problems[:MOST_SHOWN]:
        typer.echo(safe(str(problem)))
    if len(problems) > MOST_SHOWN:
        typer.echo(f"… and {len(problems) - MOST_SHOWN} more")
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        sys.exit(f"secondlook: {safe(str(run))}: {count}; the run is not verified")


def diff(
    run_a: RunFolder,
    run_b: RunFolder,
    show: Annotated[int, typer.Option("--show", help="Show the N largest moves in rank.", min=0)] = 10,
    out: Annotated[Path | None, typer.Option("--out", help="Write every case as CSV.")] = None,
) -> None:
    """Compare two runs: which cases came, went or moved, which flags changed, and why."""
    from secondlook.diff import diff as run_diff
    from secondlook.diff import write_difference
    from secondlook.terminal import changes_table, console, flag_changes_table, moves_table, settings_table

    found = run_diff(run_a, run_b)
    if out:
        write_difference(out, found)
    terminal = console()
    for note in found.notes:
        typer.echo(safe(note), err=True)
    terminal.print(f"A: {safe(str(run_a))}\nB: {safe(str(run_b))}", soft_wrap=True)
    if found.settings:
        terminal.print(settings_table(found.settings))
    terminal.print(changes_table(found))
    terminal.print(flag_changes_table(found.flags))
    if moves := found.largest_moves(show):
        terminal.print(moves_table(moves))
    if out:
        terminal.print(f"Every case: {safe(str(out))}", soft_wrap=True)
