"""The command line: ``secondlook --help``. Flags carry paths, configs carry choices."""

from __future__ import annotations

import signal
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secondlook.cli.bench import bench_app
from secondlook.cli.common import BundlePlace, ConfigFile, check_engine, check_mlflow, find_bundle, progress_bar, safe
from secondlook.cli.labels import codebook_app, labels_app
from secondlook.cli.review import review_app
from secondlook.cli.runs import diff, verify
from secondlook.cli.watch import watch

if TYPE_CHECKING:
    from secondlook.config import TrainConfig
    from secondlook.export import Trained

app = typer.Typer(
    help="A second look at how a case was handled: rank case narratives for review, with the evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(labels_app, name="labels")
app.add_typer(codebook_app, name="codebook")
app.add_typer(bench_app, name="bench")
app.add_typer(review_app, name="review")
app.command()(verify)
app.command()(diff)
app.command()(watch)


class Engine(StrEnum):
    """Who scores."""

    LOCAL = "local"
    RAY = "ray"


class _Stopped(BaseException):
    """Ctrl-C, or the signal that asks a process to end."""


def main() -> None:
    """Run the command line; errors raised on purpose become one message and exit status 1."""
    from secondlook.errors import SecondLookError

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    # What is printed holds names and sentences from anywhere; a terminal may know fewer letters.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        app()
    except SecondLookError as error:
        sys.exit(f"secondlook: {safe(str(error))}")
    except _Stopped as stop:
        how_to_go_on = getattr(stop, "__notes__", ["nothing half-written was left behind"])
        sys.exit(f"secondlook: stopped; {' '.join(how_to_go_on)}")


def _stop(number: int, frame: object) -> None:
    raise _Stopped


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("secondlook"))
        raise typer.Exit


@app.command()
def score(
    inputs: Annotated[list[str], typer.Argument(help="Tables, texts, documents, e-mails, zip archives or folders.")],
    out: Annotated[str, typer.Option("--out", help="The run folder to write.")],
    bundle: BundlePlace = None,
    config: Annotated[Path | None, typer.Option("--config", help="Choices, such as configs/score.yaml.")] = None,
    id_column: Annotated[str | None, typer.Option("--id-column", help="The column with case ids.")] = None,
    narrative_column: Annotated[str | None, typer.Option("--narrative-column", help="The column with texts.")] = None,
    join_rows: Annotated[
        bool | None, typer.Option("--join-rows", help="Rows in succession with the same id are one case.")
    ] = None,
    date_column: Annotated[
        str | None, typer.Option("--date-column", help="The column that says when a case was received.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--since", help="Set aside cases received before this day.", formats=["%Y-%m-%d"]),
    ] = None,
    top: Annotated[int | None, typer.Option("--top", help="So many cases are to be read.", min=1)] = None,
    audit: Annotated[
        int | None, typer.Option("--audit", help="Draw N cases at random that nobody would read.", min=0)
    ] = None,
    triage: Annotated[
        bool | None, typer.Option("--triage", help="A quick first pass clears what it places below every flag.")
    ] = None,
    show: Annotated[int, typer.Option("--show", help="Print the first N cases to read with evidence.", min=0)] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run of other inputs; begin a stopped one afresh.")
    ] = False,
    engine: Annotated[Engine, typer.Option("--engine", help="This process, or Ray (Parquet only).")] = Engine.LOCAL,
    address: Annotated[
        str | None, typer.Option("--address", help="Of a Ray cluster; Ray is started here if not given.")
    ] = None,
) -> None:
    """Score cases and write a ranked queue with evidence. Every input row is scored or rejected with a reason."""
    from secondlook.bundle import load_bundle
    from secondlook.config import ScoreConfig, load_config
    from secondlook.readers import ReadOptions
    from secondlook.scale import prepare_ray
    from secondlook.terminal import console, counts_lines, queue_table

    check_engine(engine is Engine.RAY, address)
    day = since.date() if since else None
    given = {"join_rows": join_rows, "date_column": date_column, "since": day, "top": top}
    given |= {"audit": audit, "triage": triage}
    choices = load_config(config, ScoreConfig, given)
    options = ReadOptions(id_column, narrative_column, choices.max_characters)
    loaded = load_bundle(find_bundle(bundle))
    with progress_bar() as progress:
        how: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "top": show, "progress": progress}
        if engine is Engine.RAY:
            prepare_ray(address)
            from secondlook.scale.engine import score_on_ray

            run = score_on_ray(inputs, out, loaded, choices, options, address=address, **how)
        else:
            from secondlook.score import score as run_score

            run = run_score([Path(one) for one in inputs], Path(out), loaded, choices, options, **how)
    terminal = console()
    if show and run.top:
        terminal.print(queue_table(run.top[:show], loaded.codebook))
    counts = run.manifest["counts"]
    for line in counts_lines(counts):
        terminal.print(line)
    if counts["rejected"] or counts["set_aside"] or counts["files_rejected"]:
        terminal.print(f"What was not scored, and why: {out}/rejects.csv", soft_wrap=True)
    terminal.print(f"Read the queue: {out}/queue.html, as a workbook: {out}/queue.xlsx", soft_wrap=True)
    if not counts["complete"]:
        sys.exit(f"secondlook: some input could not be read to its end; see {out}/rejects.csv, and score it again")
    if not counts["scored"] and not (counts["set_aside"] and counts["set_aside"] + counts["joined"] == counts["rows"]):
        sys.exit(f"secondlook: nothing could be scored; the reasons are in {out}/rejects.csv")


@app.command()
def promote(
    config: ConfigFile,
    version: Annotated[int | None, typer.Option("--version", help="The newest if not given.")] = None,
) -> None:
    """Make a registered version the champion, which 'score --bundle models:/NAME@champion' uses."""
    from secondlook.config import TrainConfig, load_config
    from secondlook.errors import ConfigError
    from secondlook.terminal import console

    settings = load_config(config, TrainConfig).tracking
    if settings is None or settings.register_as is None:
        raise ConfigError(f"{config}: registers no model; set 'tracking.register_as'")
    check_mlflow()
    from secondlook.tracking import promote as run_promote

    console().print(run_promote(settings, version))


@app.command()
def prepare(config: ConfigFile) -> None:
    """Check the corpus, join it to its split and cut it into passages."""
    from secondlook.config import TrainConfig, load_config
    from secondlook.prepare import prepare as run_prepare
    from secondlook.terminal import console

    data = load_config(config, TrainConfig).data
    prepared = run_prepare(data)
    sizes = prepared.frame["split"].value_counts().to_dict()
    console().print(f"{len(prepared.frame)} narratives prepared: " + ", ".join(f"{n} {s}" for s, n in sizes.items()))


@app.command()
def fit(config: ConfigFile) -> None:
    """Fit a model of the train part, and those that calibration needs; goes on where it was stopped."""
    from secondlook.config import TrainConfig, load_config
    from secondlook.fit import fit as run_fit
    from secondlook.terminal import console

    with progress_bar() as progress:
        done = run_fit(load_config(config, TrainConfig), progress)
    console().print(f"Fitted: {done.workspace.folder}", soft_wrap=True)


@app.command()
def calibrate(config: ConfigFile) -> None:
    """Turn a fit's scores into probabilities and operating points, on narratives that it did not see."""
    from secondlook.calibrate import calibrate as run_calibrate
    from secondlook.config import TrainConfig, load_config
    from secondlook.terminal import calibration_table, console

    console().print(calibration_table(run_calibrate(load_config(config, TrainConfig))))


@app.command()
def export(config: ConfigFile) -> None:
    """Save a fitted and calibrated model as a bundle; track the run in MLflow."""
    from secondlook.config import TrainConfig, load_config
    from secondlook.export import export as run_export

    choices = load_config(config, TrainConfig)
    _check_tracking(choices)
    _show_and_track(choices, run_export(choices))


@app.command()
def train(config: ConfigFile) -> None:
    """Fit, calibrate and export in one go; goes on where it was stopped."""
    from secondlook.config import TrainConfig, load_config
    from secondlook.train import train as run_train

    choices = load_config(config, TrainConfig)
    _check_tracking(choices)
    with progress_bar() as progress:
        trained = run_train(choices, progress)
    _show_and_track(choices, trained)


def _show_and_track(choices: TrainConfig, trained: Trained) -> None:
    from secondlook.terminal import console, measures_table

    terminal = console()
    terminal.print(measures_table(trained.development.summary))
    terminal.print(f"Bundle: {choices.bundle}", soft_wrap=True)
    if choices.tracking:
        from secondlook.tracking import track_training

        run_id = track_training(choices, choices.tracking, trained)
        terminal.print(f"MLflow run {run_id} in {choices.tracking.uri}", soft_wrap=True)


def _check_tracking(choices: TrainConfig) -> None:
    """Say before the work, not after it, that the run cannot be tracked."""
    if choices.tracking:
        check_mlflow()
        from secondlook.tracking import check_store

        check_store(choices.tracking)


@app.command()
def evaluate(
    what: Annotated[Path, typer.Argument(help="A configuration (YAML), or labelled narratives (JSONL, or a folder).")],
    split: Annotated[str, typer.Option("--split", help="train, development or test.")] = "test",
    bundle: Annotated[str | None, typer.Option("--bundle", help="For labelled narratives: the bundle.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder to write; a configuration's test part needs none.")
    ] = None,
) -> None:
    """Measure a bundle on a part of the corpus, or on any labelled narratives; write measures, curves and a page."""
    from secondlook.config import TrainConfig, load_config
    from secondlook.errors import ConfigError
    from secondlook.evaluate import evaluate as run_evaluate
    from secondlook.terminal import console, measures_table

    if what.suffix.lower() not in (".yaml", ".yml"):
        _evaluate_file(what, bundle, out or Path("runs/evaluation") / what.stem)
        return
    if bundle is not None:
        raise ConfigError("--bundle goes with labelled narratives; a configuration names its own bundle")
    choices = load_config(what, TrainConfig)
    console().print(measures_table(run_evaluate(choices, split, out).summary))


def _evaluate_file(path: Path, bundle: str | None, out: Path) -> None:
    from secondlook.bundle import load_bundle
    from secondlook.card import write_page
    from secondlook.config import BootstrapConfig
    from secondlook.evaluate import evaluate_file, write_report
    from secondlook.terminal import console, measures_table

    result = evaluate_file(path, load_bundle(find_bundle(bundle)), BootstrapConfig())
    write_report(result, out)
    write_page(out, f"Evaluation on {path.name}", result.summary)
    terminal = console()
    terminal.print(measures_table(result.summary))
    terminal.print(f"Every measure and the figures: {out / 'evaluation.html'}", soft_wrap=True)


@app.command()
def card(config: ConfigFile) -> None:
    """Write the card of an evaluated bundle, and its page of figures."""
    from secondlook.card import card as run_card
    from secondlook.config import TrainConfig, load_config
    from secondlook.terminal import console

    folder = run_card(load_config(config, TrainConfig))
    console().print(f"Card: {folder / 'README.md'}, figures: {folder / 'evaluation.html'}", soft_wrap=True)
