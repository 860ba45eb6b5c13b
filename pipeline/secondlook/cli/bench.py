"""``secondlook bench``: what scoring costs on this machine, beside what else one could use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secondlook.cli.common import BundlePlace, find_bundle, progress_bar

bench_app = typer.Typer(help="Speed and memory on this machine.", no_args_is_help=True)


@bench_app.callback()
def _bench() -> None:
    """Keep ``score`` a command of its own."""


@bench_app.command("score")
def bench_score(
    narratives: Annotated[int, typer.Option("--narratives", help="How many narratives to draw.", min=1)] = 2000,
    sample: Annotated[
        int | None, typer.Option("--sample", help="Time all contenders on the first N of these only.", min=1)
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Turns of each contender.", min=1)] = 3,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Threads of each contender; all cores if not given.", min=1)
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Annotations or cases to draw from; the corpus if not given.")
    ] = None,
    bundle: BundlePlace = None,
    sizes: Annotated[
        str | None, typer.Option("--sizes", help="Also run 'score' at these sizes, such as 1000,100000.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A JSON file for every figure.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="An SVG of speed and memory by size.")] = None,
) -> None:
    """Time scoring against its competitors and against the machine's int8 products, in one run."""
    from secondlook.bench import bench_score as run_bench
    from secondlook.bench.sizes import bench_sizes, draw_sizes
    from secondlook.bench.work import choose_narratives
    from secondlook.bundle import load_bundle
    from secondlook.terminal import console, sizes_table, speed_lines, speed_table

    wanted = _numbers(sizes)
    place = find_bundle(bundle)
    chosen = choose_narratives(narratives, source or _corpus())
    with progress_bar() as progress:
        task = progress.add_task("preparing", total=None)

        def report(message: str) -> None:
            progress.update(task, description=message)

        report_made = run_bench(chosen[:sample], load_bundle(place), repeats=repeats, threads=threads, report=report)
        costs = bench_sizes(chosen, wanted, place, report) if wanted else None
    terminal = console()
    terminal.print(speed_table(report_made))
    for line in speed_lines(report_made, narratives):
        terminal.print(line)
    if costs:
        terminal.print(sizes_table(costs))
        if plot:
            draw_sizes(costs, plot)
    if out:
        _write(out, report_made.as_json() | {"drawn": narratives, "sizes": costs.as_json() if costs else None})


def _numbers(sizes: str | None) -> list[int]:
    from secondlook.errors import ConfigError

    parts = [part.strip() for part in (sizes or "").split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"--sizes: '{sizes}' is not a list of whole numbers such as 1000,100000")
    return [int(part) for part in parts]


def _corpus() -> Path:
    """The corpus of a checkout, or its sample."""
    from secondlook.errors import ConfigError

    for place in (Path("labels/annotations"), Path("labels/sample/cases.csv")):
        if place.exists():
            return place
    raise ConfigError("there is no corpus here (labels/annotations); give --from annotations or a file of cases")


def _write(path: Path, figures: dict[str, object]) -> None:
    import json

    from secondlook.errors import RunError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as cause:
        raise RunError(f"{path}: cannot be written ({cause.strerror}); give --out another place") from None
