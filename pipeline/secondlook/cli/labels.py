"""``secondlook labels`` and ``secondlook codebook``: the corpus, and the modes it is annotated for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from secondlook.cli.common import AdjudicationsPath, AnnotationsPath, CodebookFile, ConfigFile, progress_bar, safe

MOST_SHOWN = 500

labels_app = typer.Typer(help="The corpus: check, audit, split, import, export.", no_args_is_help=True)
codebook_app = typer.Typer(help="The codebook: draft one.", no_args_is_help=True)


@labels_app.command("check")
def labels_check(
    annotations: AnnotationsPath = Path("labels/annotations"),
    codebook: CodebookFile = Path("labels/codebook.yaml"),
) -> None:
    """Name every problem in the annotations, and the first in second annotations and adjudications."""
    from secondlook.codebook import load_codebook
    from secondlook.corpus import check_annotations, load_second, read_adjudications, read_annotations
    from secondlook.splits import straddling_duplicates

    book = load_codebook(codebook)
    located, problems = read_annotations(annotations)
    problems += check_annotations(located, book) + straddling_duplicates(located)
    for problem in problems[:MOST_SHOWN]:
        typer.echo(safe(str(problem)))
    if len(problems) > MOST_SHOWN:
        typer.echo(f"… and {len(problems) - MOST_SHOWN} more")
    if problems:
        sys.exit(f"secondlook: {len(problems)} problems in {len(located)} annotations")
    if not located:
        sys.exit(f"secondlook: {annotations}: there are no annotations (*.jsonl) here")
    known = {item.annotation.id: item.annotation for item in located}
    second = load_second(annotations / "second", known, book)
    decided = read_adjudications(annotations.parent / "adjudications", known, book)
    more = f"; {len(second)} second annotations and {len(decided)} adjudications" if second or decided else ""
    typer.echo(f"{len(located)} annotations, no problems{more}")


@labels_app.command("split")
def labels_split(config: ConfigFile) -> None:
    """Divide the corpus by group into train, development and test, and store that."""
    from secondlook.codebook import load_codebook
    from secondlook.config import SplitConfig, load_config
    from secondlook.corpus import load_corpus
    from secondlook.splits import make_split, write_split

    choices = load_config(config, SplitConfig)
    corpus = load_corpus(choices.data.annotations, load_codebook(choices.data.codebook))
    assignments = make_split(corpus, choices)
    write_split(choices.data.splits, assignments)
    for part in ("train", "development", "test"):
        typer.echo(f"{part}: {sum(place.split == part for place in assignments)} narratives")


@labels_app.command("audit")
def labels_audit(config: Annotated[Path, typer.Argument(help="The limits.")] = Path("configs/audit.yaml")) -> None:
    """Measure variety, balance and whether style alone predicts a label; fail on a breach of the limits."""
    from secondlook.audit import AuditConfig, audit
    from secondlook.codebook import load_codebook
    from secondlook.config import load_config
    from secondlook.corpus import load_gold
    from secondlook.terminal import audit_table, console

    limits = load_config(config, AuditConfig)
    codebook = load_codebook(limits.data.codebook)
    checks = audit(load_gold(limits.data, codebook), codebook, limits)
    console().print(audit_table(checks))
    if breached := [check.name for check in checks if not check.holds]:
        sys.exit(f"secondlook: {len(breached)} limits of {config} are breached: {'; '.join(breached)}")


@labels_app.command("agreement")
def labels_agreement(
    annotations: AnnotationsPath = Path("labels/annotations"),
    second: Annotated[Path, typer.Option("--second", help="The second annotator's folder.")] = Path(
        "labels/annotations/second"
    ),
    adjudications: AdjudicationsPath = Path("labels/adjudications"),
    codebook: CodebookFile = Path("labels/codebook.yaml"),
) -> None:
    """Compare two annotators who did not see each other's work: kappa, alpha, evidence, and the disagreements."""
    from secondlook.agreement import measure_agreement, topics
    from secondlook.codebook import load_codebook
    from secondlook.config import BootstrapConfig
    from secondlook.corpus import load_corpus, load_second, read_adjudications
    from secondlook.terminal import agreement_table, console, topics_table

    book = load_codebook(codebook)
    first = {item.id: item for item in load_corpus(annotations, book)}
    other = load_second(second, first)
    if not other:
        sys.exit(f"secondlook: {second}: there are no second annotations (*.jsonl) here")
    terminal = console()
    with terminal.status("resampling"):
        measured = measure_agreement(first, other, book.mode_ids, BootstrapConfig())
    terminal.print(agreement_table(measured))
    if decided := read_adjudications(adjudications, first, book):
        terminal.print(topics_table(topics(decided)))


@labels_app.command("doubt")
def labels_doubt(
    config: ConfigFile,
    top: Annotated[int, typer.Option("--top", help="How many to list.", min=1)] = 40,
    out: Annotated[Path | None, typer.Option("--out", help="Write the list as CSV.")] = None,
) -> None:
    """List the labels most likely wrong, by models that did not see the narrative, to be read again."""
    from secondlook.config import TrainConfig, load_config
    from secondlook.doubt import find_doubts, write_doubts
    from secondlook.terminal import console, doubts_table

    with progress_bar() as progress:
        doubts = find_doubts(load_config(config, TrainConfig), progress)[:top]
    console().print(doubts_table(doubts))
    if out:
        write_doubts(out, doubts)


@labels_app.command("import")
def labels_import(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What another tool wrote.")],
    kind: Annotated[str, typer.Option("--from", help="label-studio, doccano, prodigy, docbin, datasets or table.")],
    out: Annotated[Path, typer.Option("--out", help="The JSONL file to write.")],
    codebook: CodebookFile = Path("labels/codebook.yaml"),
    annotator: Annotated[
        str, typer.Option("--annotator", help="Who annotated, where the file does not say.")
    ] = "imported",
    partial: Annotated[bool, typer.Option("--partial", help="What is not marked is unknown, not negative.")] = False,
    id_column: Annotated[str | None, typer.Option("--id-column")] = None,
    narrative_column: Annotated[str | None, typer.Option("--narrative-column")] = None,
    group_column: Annotated[str | None, typer.Option("--group-column", help="Rows that must stay on one side.")] = None,
    label_column: Annotated[str | None, typer.Option("--label-column", help="One column with all labels.")] = None,
    separator: Annotated[str, typer.Option("--separator", help="Between the labels of that column.")] = ";",
) -> None:
    """Bring in annotations; offsets are checked against the text and mended or left out, with a note."""
    from secondlook.codebook import load_codebook
    from secondlook.corpus import write_annotations
    from secondlook.interchange import ImportOptions, import_annotations

    options = ImportOptions(annotator, not partial, id_column, narrative_column, group_column, label_column, separator)
    imported = import_annotations(source, kind, load_codebook(codebook), options)
    write_annotations(out, imported.annotations)
    for note in imported.notes:
        typer.echo(safe(note), err=True)
    typer.echo(f"{imported.read} records read, {len(imported.annotations)} annotations written to {out}")


@labels_app.command("merge")
def labels_merge(
    source: Annotated[
        Path, typer.Argument(metavar="NEW", help="Annotations (JSONL), or a folder that 'review export' wrote.")
    ],
    into: Annotated[Path, typer.Option("--into", help="The folder of the corpus's annotations.")] = Path(
        "labels/annotations"
    ),
    codebook: Annotated[Path | None, typer.Option("--codebook", help="Beside that folder if not given.")] = None,
    splits: Annotated[Path | None, typer.Option("--splits", help="Likewise.")] = None,
    adjudications: Annotated[Path | None, typer.Option("--adjudications", help="Likewise.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
) -> None:
    """Take new annotations into the corpus: checked, without leakage, whole or not at all; the test part stays."""
    from secondlook.config import DataConfig
    from secondlook.merge import merge

    beside = into.parent
    data = DataConfig(
        annotations=into,
        codebook=codebook or beside / "codebook.yaml",
        splits=splits or beside / "splits.csv",
        adjudications=adjudications or beside / "adjudications",
    )
    done = merge(source, data, dry_run=dry_run)
    for note in done.notes[:MOST_SHOWN]:
        typer.echo(safe(str(note)))
    if len(done.notes) > MOST_SHOWN:
        typer.echo(f"… and {len(done.notes) - MOST_SHOWN} more")
    parts = ", ".join(f"{count} {part}" for part, count in sorted(done.places.items()))
    typer.echo(
        f"{done.added} narratives added ({parts or 'no split yet'}), {done.joined} of them to a group that was there; "
        f"{done.changed} changed, {done.unchanged} as they were; {len(done.notes)} notes"
    )
    if done.second or done.adjudications:
        typer.echo(f"{done.second} second annotations, {done.adjudications} adjudications added")
    typer.echo("Nothing was changed: --dry-run" if dry_run else f"{len(done.files)} files written")


@labels_app.command("export")
def labels_export(
    kind: Annotated[str, typer.Option("--to", help="label-studio, doccano, prodigy, docbin, datasets or table.")],
    out: Annotated[Path, typer.Option("--out", help="The file (for datasets: the folder) to write.")],
    annotations: AnnotationsPath = Path("labels/annotations"),
    adjudications: AdjudicationsPath = Path("labels/adjudications"),
    codebook: CodebookFile = Path("labels/codebook.yaml"),
    run: Annotated[Path | None, typer.Option("--run", help="A run's evidence, for Label Studio to correct.")] = None,
) -> None:
    """Write the gold annotations as another tool reads them, or a run's evidence as predictions."""
    from secondlook.codebook import load_codebook
    from secondlook.config import DataConfig
    from secondlook.corpus import load_gold
    from secondlook.interchange import export_annotations, export_predictions

    book = load_codebook(codebook)
    if run:
        typer.echo(f"{export_predictions(run, out, kind, book)} cases with predictions written to {out}")
        return
    corpus = load_gold(DataConfig(annotations=annotations, adjudications=adjudications), book)
    export_annotations(corpus, out, kind, book)
    typer.echo(f"{len(corpus)} annotations written to {out}")


@codebook_app.command("init")
def codebook_init(
    table: Annotated[Path, typer.Argument(help="A table of narratives with their labels.")],
    label_column: Annotated[str, typer.Option("--label-column", help="The column that holds the labels.")],
    out: Annotated[Path, typer.Option("--out", help="The codebook to write.")] = Path("labels/codebook.yaml"),
    separator: Annotated[str, typer.Option("--separator", help="Between several labels in one cell.")] = ";",
    id_column: Annotated[str | None, typer.Option("--id-column")] = None,
    narrative_column: Annotated[str | None, typer.Option("--narrative-column")] = None,
) -> None:
    """Draft a codebook from the labels in a table; the definitions are yours to write."""
    from secondlook.interchange import ImportOptions
    from secondlook.interchange.table import draft_codebook

    options = ImportOptions(
        id_column=id_column, narrative_column=narrative_column, label_column=label_column, separator=separator
    )
    modes = draft_codebook(table, options, out)
    typer.echo(f"{len(modes)} modes drafted in {out}: {', '.join(modes)}")
