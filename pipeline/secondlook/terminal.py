"""What commands print for people: tables, never a control character from a narrative."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from secondlook.codebook import Codebook
from secondlook.schema import ScoredCase

if TYPE_CHECKING:
    from secondlook.agreement import Agreement
    from secondlook.audit import Check
    from secondlook.bench import Report
    from secondlook.bench.sizes import Costs
    from secondlook.bundle import ModeCalibration
    from secondlook.diff import CaseDifference, Difference, FlagChanges, Setting
    from secondlook.doubt import Doubt
    from secondlook.verify import Coverage, Skipped, WithoutEvidence

EXCERPT_CHARACTERS = 280


def queue_table(queue: Sequence[ScoredCase], codebook: Codebook) -> Table:
    """The top of a queue: rank, case, why it stands there, flags and the first evidence of each."""
    table = Table(title="Top of the queue", show_lines=True, title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("case", no_wrap=True)
    table.add_column("priority", justify="right")
    table.add_column("why: mode, score and the sentence behind it", ratio=1)
    for item in queue:
        stands = [Text(f"{printable(item.explanation)}.", "dim")] if item.explanation else []
        why = Text("\n").join([*stands, *_reasons(item, codebook)])
        table.add_row(str(item.rank), Text(printable(item.case.case_id)), f"{item.priority:.2f}", why)
    return table


def counts_lines(counts: Mapping[str, Any]) -> list[str]:
    """What became of the rows of an input."""
    line = f"{counts['rows']} rows read: {counts['scored']} scored, {counts['rejected']} rejected"
    if counts["joined"]:
        line += f", {counts['joined']} joined to a row before it"
    if counts["set_aside"]:
        line += f", {counts['set_aside']} set aside by date"
    if counts["files_rejected"]:
        line += f"; {counts['files_rejected']} files or sheets not read"
    said = {
        "cleared": "were cleared by the first pass",
        "copies": "stand behind the case that they copy",
        "drawn": "were drawn for the audit",
        "undated": "have no date that could be read (date_order says how to read 03/04/2026)",
    }
    of_them = [f"{counts[name]} {what}" for name, what in said.items() if counts[name]]
    return [line] + [f"Of the scored, {', '.join(of_them)}"] * bool(of_them)


def measures_table(summary: Mapping[str, Any]) -> Table:
    """The chief measures of every mode with their intervals, and how far minimal pairs are told apart."""
    on = summary["measured_on"]
    caption = f"in brackets: {summary['interval']}"
    if pairs := summary["pairs"].get("all"):
        right, order = _interval(pairs["both_right"]), _interval(pairs["in_order"])
        caption = f"{pairs['pairs']} minimal pairs: both right {right}, in order {order}\n{caption}"
    title = printable(f"{on['split']}: {on['narratives']} narratives in {on['groups']} groups ({on['nature']})")
    table = Table(
        title=title,
        caption=caption,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("mode", no_wrap=True)
    names = {"average_precision": "average precision", "f1": "F1", "evidence_precision_at_1": "evidence P@1"}
    for title in names.values():
        table.add_column(title, justify="right", no_wrap=True)
    for mode, measures in summary["modes"].items():
        table.add_row(mode, *(_interval(measures[name]) for name in names))
    return table


def audit_table(checks: Sequence[Check]) -> Table:
    """Every check of an audit, breaches marked."""
    table = Table(title="Audit of the corpus", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "measured", "limit", ""):
        table.add_column(heading)
    for check in checks:
        name = Text.assemble(check.name, (f"\n{printable(check.detail)}" if check.detail else "", "dim"))
        table.add_row(name, check.value, check.limit, "holds" if check.holds else Text("BREACH", "bold red"))
    return table


def calibration_table(modes: Mapping[str, ModeCalibration]) -> Table:
    """Where each mode flags, what it reached there out of fold, and what that rests on."""
    table = Table(title="Operating points, out of fold", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("mode", "flag at", "recall", "precision", "positives", "note"):
        table.add_column(heading)
    for mode, settings in modes.items():
        point = settings.operating_point
        figures = (f"{point.threshold:.3f}", f"{point.recall:.2f}", f"{point.precision:.2f}", str(point.positives))
        table.add_row(mode, *figures, "; ".join(filter(None, [settings.calibration.note, point.note])))
    return table


def agreement_table(measured: Sequence[Agreement]) -> Table:
    """Agreement on every mode; spans are compared where both found the mode."""
    title = f"Two annotators, blind, on {measured[0].narratives} narratives"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("mode", "differ", "kappa", "alpha", "span F1", "IoU"):
        table.add_column(heading, justify="left" if heading == "mode" else "right", no_wrap=True)
    for one in measured:
        statistics = (_triple(one.kappa), _triple(one.alpha), f"{one.span_f1:.2f}", f"{one.span_iou:.2f}")
        table.add_row(one.mode, str(one.disagreements), *statistics)
    return table


def topics_table(counted: Sequence[tuple[str, str, int]]) -> Table:
    """What disagreements were about."""
    table = Table(title="What the disagreements were about", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("mode", "topic", "how many"):
        table.add_column(name)
    for mode, topic, count in counted:
        table.add_row(mode, printable(topic), str(count))
    return table


def doubts_table(doubts: Sequence[Doubt]) -> Table:
    """Labels to read again."""
    table = Table(
        title="Labels to read again, the most doubtful first", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for name in ("narrative", "mode", "label", "model says", "label quality"):
        table.add_column(name)
    for one in doubts:
        given = "positive" if one.label else "negative"
        table.add_row(printable(one.id), one.mode, given, f"{one.probability:.2f}", f"{one.quality:.2f}")
    return table


def speed_table(report: Report) -> Table:
    """Every contender's rate, and how often ours fits into its time, by the clock and by processor time."""
    title = (
        f"{report.narratives} narratives, {report.passages} passages, {report.windows} windows "
        f"({report.distinct_windows} distinct); median of {len(report.timings[0].seconds)} turns"
    )
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("contender", no_wrap=True)
    for heading in ("narratives/s", "passages/s", "times ours", "processor"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("how")
    for timing in report.timings:
        rates = (report.narratives / timing.median_seconds, report.passages / timing.median_seconds)
        figures = (f"{rates[0]:.1f}", f"{rates[1]:.0f}", f"{timing.ratio:.2f}", f"{timing.processor_ratio:.2f}")
        table.add_row(timing.name, *figures, printable(timing.setting))
    return table


def speed_lines(report: Report, drawn: int) -> list[str]:
    """What follows from the table, and who did not take part."""
    lines = [f"Encoder: {report.encoder_share():.0%} of the whole"]
    for name, (rate, share) in report.ceilings().items():
        lines.append(f"{name}: {rate:.0f} GOP/s on this machine; the encoder reaches {share:.0%} of that rate")
    if report.narratives < drawn:
        per_second = report.narratives / report.timings[0].median_seconds
        lines.append(
            f"Timed on {report.narratives} of {drawn} narratives; all of them would take ours "
            f"{drawn / per_second:.0f} s at this rate"
        )
    return lines + [printable(f"Not measured: {one.name}: {one.reason}") for one in report.skipped]


def sizes_table(costs: Costs) -> Table:
    """Time and memory of the command by size."""
    first = costs.first_result
    title = f"secondlook score; a single case in {first.seconds:.1f} s, --help in {costs.help_seconds:.2f} s"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("narratives", "seconds", "ms each, start apart", "peak MiB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for cost in (first, *costs.sizes):
        each = f"{costs.milliseconds_each(cost):.2f}" if cost.narratives > 1 else ""
        peak = f"{cost.peak_mib:.0f}" if cost.peak_mib is not None else "unknown"
        table.add_row(str(cost.narratives), f"{cost.seconds:.1f}", each, peak)
    return table


def without_evidence_table(effects: Sequence[WithoutEvidence], cases: int, *, every_mode: bool = False) -> Table:
    """What the scores of the first cases would be without their evidence: flagged modes, or the highest."""
    again = any(one.cut_out is not None for one in effects)
    table = Table(title="Without its evidence", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("rank", "case", "mode", "score", "evidence", "share", "left out"):
        table.add_column(heading, justify="left" if heading in ("case", "mode") else "right")
    if again:
        table.add_column("cut out, encoded again", justify="right")
    own: dict[str, list[WithoutEvidence]] = {}
    for one in effects:
        own.setdefault(one.case_id, []).append(one)
    for modes in list(own.values())[:cases]:
        flagged = modes if every_mode else [one for one in modes if one.flag]
        for one in flagged or [max(modes, key=lambda one: one.score)]:
            scores = [_scored(one.score, one.threshold), str(one.evidence), f"{one.share:.0%}"]
            scores += [_scored(one.left_out, one.threshold)] + [_scored(one.cut_out, one.threshold)] * again
            table.add_row(str(one.rank), printable(one.case_id), one.mode, *scores)
    return table


def skipped_table(stretches: Sequence[Skipped]) -> Table:
    """The stretches of a narrative that no score rests on."""
    table = Table(title="Skipped, and why", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("from", "to", "why"):
        table.add_column(heading, justify="left" if heading == "why" else "right")
    for one in stretches:
        table.add_row(str(one.span.start), str(one.span.end), one.reason)
    return table


def coverage_lines(coverage: Coverage) -> list[str]:
    """How much of the narratives was scored, and what was skipped."""
    scored = f"{coverage.scored} of {coverage.characters} characters lie in {coverage.passages} passages"
    return [scored, *(f"{count} characters: {reason}" for reason, count in coverage.skipped.items())]


def settings_table(settings: Sequence[Setting]) -> Table:
    """What two runs' manifests differ in."""
    table = Table(title="The runs differ in", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "A", "B"):
        table.add_column(heading)
    for one in settings:
        table.add_row(*(Text(printable(text)) for text in (one.name, one.a, one.b)))
    return table


def changes_table(difference: Difference) -> Table:
    """How many cases changed in which way, and why."""
    table = Table(title="Cases", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("cases", "what", "why"):
        table.add_column(heading, justify="right" if heading == "cases" else "left")
    counted = Counter((one.change.value, one.why) for one in difference.cases)
    for (change, why), count in counted.most_common():
        table.add_row(str(count), change, Text(printable(why)))
    return table


def flag_changes_table(flags: Sequence[FlagChanges]) -> Table:
    """Flags gained and lost by the cases of both runs."""
    table = Table(title="Flags", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("mode", "in A", "in B", "gained", "lost"):
        table.add_column(heading, justify="left" if heading == "mode" else "right")
    for one in flags:
        counts = ["not known" if count is None else str(count) for count in (one.a, one.b)]
        table.add_row(printable(one.mode), *counts, str(one.gained), str(one.lost))
    return table


def moves_table(moves: Sequence[CaseDifference]) -> Table:
    """The largest moves in rank."""
    table = Table(title="Largest moves", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("case", "rank", "priority", "flags", "why"):
        table.add_column(heading)
    for one in moves:
        flags = [*(f"+{mode}" for mode in one.gained), *(f"-{mode}" for mode in one.lost)]
        before, after = one.priority
        places = f"{one.rank[0]} to {one.rank[1]}"
        why = one.why or ("others moved" if before == after else "priority is reckoned otherwise")
        texts = (one.case_id, places, f"{before:.2f} to {after:.2f}", " ".join(flags), why)
        table.add_row(*(Text(printable(text)) for text in texts))
    return table


def printable(text: str) -> str:
    """The text on one line, with control and format characters (escape codes, bidi overrides) as '·'."""
    one_line = " ".join(text.split())
    return "".join("·" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") else c for c in one_line)


def console() -> Console:
    """Standard output; plain, and wide enough for our tables, where it is not a terminal."""
    plain = Console(highlight=False, markup=False)
    return plain if plain.is_terminal else Console(highlight=False, markup=False, width=max(plain.width, 100))


def _reasons(item: ScoredCase, codebook: Codebook) -> list[Text]:
    flagged = [mode for mode in codebook.modes if item.flags[mode.id]]
    shown = flagged or [max(codebook.modes, key=lambda mode: item.scores[mode.id])]
    return [_reason(item, mode.id, mode.title) for mode in shown]


def _reason(item: ScoredCase, mode: str, title: str) -> Text:
    best = next(evidence for evidence in item.evidence if evidence.mode == mode)
    excerpt = printable(item.case.narrative[slice(*best.span)])
    if len(excerpt) > EXCERPT_CHARACTERS:
        excerpt = excerpt[: EXCERPT_CHARACTERS - 1] + "…"
    mark = "" if item.flags[mode] else " (not flagged)"
    return Text.assemble((f"{title}{mark} {item.scores[mode]:.2f}", "bold"), f"  “{excerpt}”")


def _scored(score: float | None, threshold: float) -> str:
    """A score, marked where it is a flag."""
    return "nothing left" if score is None else f"{score:.2f}{' flag' if score >= threshold else ''}"


def _interval(measure: Mapping[str, float | None]) -> str:
    if measure["value"] is None:
        return "not defined"
    if measure["low"] is None:
        return f"{measure['value']:.2f} (no interval)"
    return f"{measure['value']:.2f} ({measure['low']:.2f}-{measure['high']:.2f})"


def _triple(value: tuple[float, float, float]) -> str:
    """A value with its interval, narrow enough for six columns."""
    return "not defined" if value[0] != value[0] else f"{value[0]:.2f} {value[1]:.2f}-{value[2]:.2f}"
