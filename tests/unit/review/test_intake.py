from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select, text

from secondlook.bundle import Bundle
from secondlook.config import ReviewConfig
from secondlook.errors import DeskError
from secondlook.review import intake, record, search
from secondlook.review.database import Desk, open_desk
from secondlook.review.intake import add_run, case_digests, uncertainty, without_bundle
from secondlook.review.tables import Arm, CaseRow, Entry, EvidenceRow, FieldRow, Run, ScoreRow, Status
from secondlook.storage import file_digest

Add = Callable[..., Run]


@pytest.fixture
def add(desk: Desk, run_folder: Path, bundle: Bundle, review_config: ReviewConfig, now: datetime) -> Add:
    """Put the run on the desk; what is given takes the place of what is usual."""

    def put(**other: object) -> Run:
        usual = {"desk": desk, "folder": run_folder, "bundle": bundle, "config": review_config, "now": now}
        return add_run(**(usual | other))  # type: ignore[arg-type]

    return put


@pytest.fixture
def copied(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(run_folder, tmp_path / "copied"))


def _cases(desk: Desk) -> dict[str, CaseRow]:
    with desk.reading() as session:
        return {case.case_id: case for case in session.scalars(select(CaseRow).order_by(CaseRow.rank))}


def _signed(folder: Path) -> None:
    """Give every file the digest that it has now, as whoever made the run would have."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: file_digest(folder / name) for name in manifest["files"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_every_case_is_on_the_desk_as_the_run_has_it(desk: Desk, added: Run, run_folder: Path, bundle: Bundle) -> None:
    queue = pq.read_table(run_folder / "queue.parquet").to_pylist()
    texts = {row["case_id"]: row for row in pq.read_table(run_folder / "cases.parquet").to_pylist()}
    passages = pq.read_table(run_folder / "evidence.parquet").to_pylist()
    assert added.cases == len(queue) == 14
    assert added.thresholds == {m: s.operating_point.threshold for m, s in bundle.modes.items()}
    assert [mode["title"] for mode in added.codebook["modes"]] == ["told suspect", "nobody went"]
    with desk.reading() as session:
        for row in queue:
            case = session.scalars(select(CaseRow).where(CaseRow.case_id == row["case_id"])).one()
            assert (case.rank, case.priority, case.explanation) == (row["rank"], row["priority"], row["explanation"])
            assert (case.file, case.row) == (texts[case.case_id]["file"], texts[case.case_id]["row"])
            assert case.narrative == texts[case.case_id]["narrative"]
            assert case.received == (row["date_received"] and row["date_received"].replace(tzinfo=UTC))
            assert case.status == Status.OPEN
            scores = session.scalars(select(ScoreRow).where(ScoreRow.case_id == case.id)).all()
            assert {s.mode: (s.score, s.low, s.high, s.flag, s.rank) for s in scores} == {
                mode: (row[f"p_{mode}"], row[f"low_{mode}"], row[f"high_{mode}"], row[f"flag_{mode}"], row["rank"])
                for mode in bundle.codebook.mode_ids
            }
            found = session.scalars(select(EvidenceRow).where(EvidenceRow.case_id == case.id).order_by(EvidenceRow.id))
            assert [(e.mode, case.narrative[e.start : e.end], e.share) for e in found] == [
                (e["mode"], e["text"], e["share"]) for e in passages if e["case_id"] == case.case_id
            ]


def test_odd_narratives_keep_every_code_point(desk: Desk, added: Run) -> None:
    with desk.reading() as session:
        texts = dict(session.execute(select(CaseRow.case_id, CaseRow.narrative)).tuples().all())
    assert texts["emoji"].startswith("\U0001f600 \u05e9\u05dc\u05d5\u05dd\0 ")
    assert texts["markup"].startswith("<script>alert(1)</script> {{ 7 * 7 }} '; DROP TABLE cases; -- ")


def test_copies_are_read_with_their_original(desk: Desk, added: Run) -> None:
    cases = _cases(desk)
    original = cases["told-1"]
    assert [c for c in cases if cases[c].original_id == original.id] == ["copy-1", "copy-2"]
    assert (original.copies, cases["copy-1"].copies, cases["plain-1"].copies) == (2, 0, 0)
    assert original.original_id is None


def test_what_was_drawn_for_the_audit_is_known(desk: Desk, added: Run) -> None:
    drawn = [case for case in _cases(desk).values() if case.drawn_for_audit]
    assert len(drawn) == 2
    assert all(case.audit_stratum == 1 and 0 < case.inclusion_probability < 1 for case in drawn)


def test_keys_follow_the_ranks(desk: Desk, added: Run) -> None:
    keys = [case.id for case in _cases(desk).values()]
    assert keys == list(range(keys[0], keys[0] + 14))


def test_columns_of_the_input_can_be_filtered_by_and_are_kept_whole(desk: Desk, added: Run) -> None:
    case = _cases(desk)["told-1"]
    with desk.reading() as session:
        fields = session.execute(select(FieldRow.name, FieldRow.value).where(FieldRow.case_id == case.id)).tuples()
        assert dict(fields.all()) == {
            "received": "2026-01-01",
            "unit": "north",
            "officer": "PC 100",
            "remark": "x" * intake.LONGEST_FIELD,
        }
        details = session.scalars(select(CaseRow.details).where(CaseRow.id == case.id)).one()
        names = session.scalars(select(FieldRow.name).where(FieldRow.case_id == _cases(desk)["copy-1"].id)).all()
    assert details["remark"] == "x" * 300
    assert "remark" not in names  # an empty cell


def test_no_more_columns_than_that_can_be_filtered_by(desk: Desk, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_FIELDS", 2)
    add()
    with desk.reading() as session:
        assert set(session.scalars(select(FieldRow.name))) == {"received", "unit"}


def test_cases_are_found_by_words_ids_and_columns(desk: Desk, added: Run) -> None:
    keys = {case.id: name for name, case in _cases(desk).items()}

    def found(question: str) -> set[str]:
        with desk.reading() as session:
            matching = search.matching(session, question)
            assert matching is not None
            return {keys[key] for key in session.scalars(matching)}

    assert found("nobody case 4") == {"went-1"}
    assert found("told-3") == {"told-3"}
    assert "told-1" in found("PC 100")


def test_a_case_is_as_uncertain_as_its_score_is_near(desk: Desk, added: Run) -> None:
    with desk.reading() as session:
        for case in session.scalars(select(CaseRow)):
            scores = dict(
                session.execute(select(ScoreRow.mode, ScoreRow.score).where(ScoreRow.case_id == case.id)).tuples().all()
            )
            assert case.uncertainty == uncertainty(scores, added.thresholds)
            assert 0 < case.uncertainty <= 1


def test_each_case_has_its_place_in_the_orders_of_variety_and_lot(desk: Desk, added: Run) -> None:
    cases = _cases(desk).values()
    assert sorted(case.diversity for case in cases) == list(range(1, 15))
    assert len({case.lot for case in cases}) == 14


def test_double_reviews_are_drawn_and_a_copy_is_never_one(desk: Desk, add: Add) -> None:
    add(config=ReviewConfig(double_share=1.0, unprompted_share=1.0))
    cases = _cases(desk)
    assert all(sorted(case.arms) == [Arm.PROMPTED, Arm.UNPROMPTED] for case in cases.values() if not case.original_id)
    assert cases["copy-1"].arms == [Arm.PROMPTED]


def test_a_run_is_added_once(desk: Desk, add: Add) -> None:
    first, second = add(), add()
    assert first.id == second.id
    with desk.reading() as session:
        assert session.scalar(select(func.count()).select_from(CaseRow)) == 14
        assert session.scalar(select(func.count()).select_from(Entry)) == 1


def test_the_record_says_what_was_added(desk: Desk, added: Run) -> None:
    with desk.reading() as session:
        entry = session.scalars(select(Entry)).one()
    assert (entry.action, entry.actor, entry.run) == ("run added", record.SYSTEM, added.digest)
    said = json.loads(entry.detail)
    assert said["cases_digest"] == added.cases_digest
    assert said["bundle"] == {"name": "tiny", "digest": added.bundle_digest}
    assert said["thresholds"] == added.thresholds


def test_digests_are_those_of_what_is_stored(desk: Desk, added: Run) -> None:
    with desk.reading() as session:
        cases = session.scalars(select(CaseRow).order_by(CaseRow.rank)).all()
        assert list(case_digests(session, cases)) == [case.digest for case in cases]
        assert record.together(case.digest for case in cases) == added.cases_digest


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE scores SET score = score + 0.0001 WHERE case_id = :key AND mode = 'told_suspect'",
        "UPDATE scores SET flag = NOT flag WHERE case_id = :key AND mode = 'told_suspect'",
        "DELETE FROM scores WHERE case_id = :key AND mode = 'told_suspect'",
        'UPDATE evidence SET "end" = "end" + 1 WHERE case_id = :key',
        "DELETE FROM evidence WHERE case_id = :key",
        "UPDATE cases SET narrative = narrative || narrative WHERE id = :key",
        "UPDATE cases SET rank = 999 WHERE id = :key",
        "UPDATE cases SET explanation = 'x' WHERE id = :key",
        "UPDATE cases SET details = '{}' WHERE id = :key",
        "UPDATE cases SET original_id = 1 WHERE id = :key",
        "UPDATE cases SET received = NULL WHERE id = :key",
    ],
)
def test_a_digest_tells_of_any_change(desk: Desk, added: Run, statement: str) -> None:
    key = _cases(desk)["went-1"].id
    with desk.writing() as session:
        session.execute(text(statement), {"key": key})
    with desk.reading() as session:
        case = session.get_one(CaseRow, key)
        assert list(case_digests(session, [case])) != [case.digest]


def test_without_its_bundle_a_run_is_added_and_that_is_said(desk: Desk, add: Add) -> None:
    run = add(bundle=None)
    assert run.thresholds == {}
    assert [mode["title"] for mode in run.codebook["modes"]] == ["told_suspect", "nobody_went"]
    assert {case.uncertainty for case in _cases(desk).values()} == {0.0}
    said = without_bundle(run)
    assert said is not None
    assert "its bundle 'tiny'" in said


def test_another_bundle_is_taken_for_none(add: Add, copied: Path) -> None:
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["bundle"]["digest"] = "0" * 64
    (copied / "manifest.json").write_text(json.dumps(manifest))
    assert without_bundle(add(folder=copied)) is not None
    assert without_bundle(add()) is None


def test_two_runs_of_the_same_cases_stand_side_by_side(desk: Desk, add: Add, copied: Path) -> None:
    (copied / "manifest.json").write_text((copied / "manifest.json").read_text() + "\n")
    assert add().id != add(folder=copied).id
    with desk.reading() as session:
        assert session.scalar(select(func.count()).select_from(CaseRow)) == 28


def _no_cases(desk: Desk) -> Iterator[int]:
    with desk.reading() as session:
        for table in (Run, CaseRow, ScoreRow, EvidenceRow, FieldRow, Entry):
            yield session.scalar(select(func.count()).select_from(table)) or 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: (run / "manifest.json").unlink(), "is not a run"),
        (lambda run: (run / "manifest.json").write_text("{"), "cannot be read"),
        (lambda run: (run / "manifest.json").write_text('{"format": "secondlook-run/1"}'), "install the version that"),
        (lambda run: (run / "cases.parquet").unlink(), "cases.parquet: is missing"),
        (lambda run: (run / "queue.parquet").write_bytes(b"PAR1"), "was changed since the run was written"),
        (lambda run: (run / "rejects.csv").write_text("x"), "rejects.csv: was changed"),
    ],
)
def test_a_run_that_is_damaged_or_of_another_version_is_refused(
    sqlite_desk: Desk, copied: Path, now: datetime, damage: Callable[[Path], object], said: str
) -> None:
    damage(copied)
    with pytest.raises(DeskError, match=said):
        add_run(sqlite_desk, copied, None, ReviewConfig(), now)
    assert set(_no_cases(sqlite_desk)) == {0}


def test_an_unknown_folder_is_refused(sqlite_desk: Desk, tmp_path: Path, now: datetime) -> None:
    with pytest.raises(DeskError, match=r"is not a run: it has no manifest\.json; give the folder that scoring wrote"):
        add_run(sqlite_desk, tmp_path / "nowhere", None, ReviewConfig(), now)


def _rewrite(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(folder / name)), folder / name)
    _signed(folder)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("queue.parquet", lambda t: t.slice(1), "ranks do not count up"),
        ("queue.parquet", lambda t: t.slice(0, 5), "has 5 of 14 cases"),
        ("queue.parquet", lambda t: t.drop_columns("priority"), "0 columns 'priority'"),
        ("cases.parquet", lambda t: t.slice(1), "do not have the same cases"),
        ("evidence.parquet", lambda t: pa.concat_tables([t, t]), "do not have the same cases"),
    ],
)
def test_files_that_do_not_fit_together_leave_nothing_behind(
    desk: Desk,
    copied: Path,
    add: Add,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    change: Callable[[pa.Table], pa.Table],
    said: str,
) -> None:
    monkeypatch.setattr(intake, "_ROWS", 3)
    _rewrite(copied, name, change)
    with pytest.raises(DeskError, match=said):
        add(folder=copied)
    assert set(_no_cases(desk)) == {0}


def test_a_full_disk_leaves_nothing_behind(
    sqlite_desk_path: Path, run_folder: Path, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(sqlite_desk_path)
    with desk.writing() as session:
        pages = session.execute(text("PRAGMA page_count")).scalar_one()
        session.execute(text(f"PRAGMA max_page_count = {pages + 1}"))
    with pytest.raises(DeskError, match="the disk is full"):
        add_run(desk, run_folder, None, ReviewConfig(), now)
    assert set(_no_cases(desk)) == {0}
    desk.close()  # as when space was made: the limit is the connection's
    desk = open_desk(sqlite_desk_path)
    assert add_run(desk, run_folder, None, ReviewConfig(), now).cases == 14
    desk.close()


def test_more_can_be_added_by_hand_afterwards(desk: Desk, added: Run, add: Add, copied: Path) -> None:
    """The keys that came with the run do not stand in the way of the database's own."""
    with desk.writing() as session:
        last = session.scalars(select(CaseRow).order_by(CaseRow.id.desc())).first()
        assert last is not None
        values = {c.key: getattr(last, c.key) for c in CaseRow.__table__.c} | {"rank": 99, "case_id": "by hand"}
        del values["id"]
        session.add(CaseRow(**values))
        session.flush()
    assert _cases(desk)["by hand"].id > last.id
