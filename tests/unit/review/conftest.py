"""A desk on SQLite and on a real PostgreSQL, a tiny run to put on it, and people to work at it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from secondlook.bundle import Bundle, load_bundle
from secondlook.config import ReviewConfig, ScoreConfig
from secondlook.readers import ReadOptions
from secondlook.review.accounts import Person
from secondlook.review.casefile import CaseFile, open_case
from secondlook.review.database import Desk, open_desk
from secondlook.review.decisions import ReviewState, decide, finish
from secondlook.review.search import add_to_index
from secondlook.review.tables import (
    Base,
    CaseRow,
    Decision,
    EvidenceRow,
    FieldRow,
    Mark,
    QueueAccess,
    Review,
    Role,
    Run,
    ScoreRow,
    User,
    Verdict,
    mode_bit,
)
from secondlook.score import score

LEXICON = [
    a + b for a in ("bar", "ket", "lom", "nis", "pru", "sot", "tev", "wil") for b in ("an", "ed", "ing", "or", "us")
]
TOLD, WENT = "The clerk told him everything", "Nobody went to her house"
_numbers = count(1)


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


def _binaries() -> Path | None:
    """Where Debian keeps the newest PostgreSQL's programs, or whoever has ``initdb`` on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _as_postgres(command: list[str]) -> None:
    """PostgreSQL refuses to run as root."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    done = subprocess.run(prefix + command, stdin=subprocess.DEVNULL, capture_output=True, cwd="/", check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout.decode()}{done.stderr.decode()}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """A server of this test session alone, started when first asked for; gives the URL of a database by name."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: no initdb in /usr/lib/postgresql/*/bin nor on the path")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has 107 bytes at most
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        settings = {
            "listen_addresses": "''",
            "unix_socket_directories": folder,
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "autovacuum": "off",
            "max_connections": "200",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        program = {name: str(binaries / name) for name in ("initdb", "pg_ctl")}
        _as_postgres(
            [program["initdb"], "-D", f"{folder}/data", "-U", "desk", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        )
        control = [program["pg_ctl"], "-D", f"{folder}/data", "-w", "-l", f"{folder}/log"]
        _as_postgres([*control, "-o", options, "start"])
        try:
            yield lambda name: f"postgresql://desk@/{name}?unix_sock={folder}/.s.PGSQL.5432"
        finally:
            _as_postgres([*control, "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ask(url: str, *statements: str) -> object:
    """What the last of some statements answers."""
    engine = create_engine(url.replace("postgresql:", "postgresql+pg8000:"), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            results = [connection.execute(text(statement)) for statement in statements]
            return results[-1].scalar() if results[-1].returns_rows else None
    finally:
        engine.dispose()


@pytest.fixture(scope="session")
def postgres_pattern(postgres: Callable[[str], str]) -> object:
    """Makes the database ``pattern`` with the desk's tables, of which others are copies; gives its shape."""
    _ask(postgres("postgres"), "CREATE DATABASE pattern")
    open_desk(postgres("pattern"), create=True).close()
    return _ask(postgres("pattern"), _SHAPE)


@pytest.fixture
def postgres_desk_url(postgres: Callable[[str], str], postgres_pattern: object) -> Iterator[str]:
    """The URL of a desk of this test's own on PostgreSQL."""
    yield from _postgres_desk(postgres, postgres_pattern)


@pytest.fixture
def another_postgres_desk_url(postgres: Callable[[str], str], postgres_pattern: object) -> Iterator[str]:
    """The URL of a second one."""
    yield from _postgres_desk(postgres, postgres_pattern)


def _postgres_desk(postgres: Callable[[str], str], postgres_pattern: object) -> Iterator[str]:
    """A desk that an earlier test used and that was emptied, or a fresh one, which takes longer."""
    if not _free:
        _free.append(f"desk_{next(_numbers)}")
        _ask(postgres("postgres"), f"CREATE DATABASE {_free[-1]} TEMPLATE pattern")
    name = _free.pop()
    yield postgres(name)
    if _emptied(postgres(name), postgres_pattern):
        _free.append(name)


_free: list[str] = []

_SHAPE = """
SELECT concat(
    (SELECT string_agg(concat(table_name, column_name, data_type), ',' ORDER BY table_name, column_name)
     FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema')),
    (SELECT string_agg(concat(tgname, tgenabled), ',' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal),
    (SELECT string_agg(indexname, ',' ORDER BY indexname) FROM pg_indexes WHERE schemaname <> 'pg_catalog'),
    (SELECT string_agg(version_num, ',') FROM alembic_version))
"""
_DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_ALL_ROWS = [f"DELETE FROM {name}" for name in ["case_text", *Base.metadata.tables]]
_FIRST_HEAD = "INSERT INTO record_head (id, sequence, hash) VALUES (1, 0, repeat('0', 64))"
_FIRST_KEYS = "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false) FROM pg_sequences"


def _emptied(url: str, shape: object) -> bool:
    """Empty a desk; False where a test changed more than its rows, so that it is of no more use."""
    try:
        if _ask(url, _DISCONNECT, _SHAPE) != shape:
            return False
        _ask(url, "SET session_replication_role = replica", *_ALL_ROWS, _FIRST_HEAD, _FIRST_KEYS)
    except DBAPIError:
        return False
    return True


# --- SQLite -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the desk's tables, which every test's own is a copy of."""
    path = tmp_path_factory.mktemp("pattern") / "desk.sqlite"
    open_desk(path, create=True).close()
    return path


@pytest.fixture
def sqlite_desk_path(sqlite_template: Path, tmp_path: Path) -> Path:
    """The path of a fresh desk on SQLite."""
    return Path(shutil.copy(sqlite_template, tmp_path / "desk.sqlite"))


# --- The desk -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def desk_place(request: pytest.FixtureRequest) -> Path | str:
    """Where a fresh desk is, on SQLite and then on PostgreSQL: what ``--desk`` would be given."""
    name = "sqlite_desk_path" if request.param == "sqlite" else "postgres_desk_url"
    place: Path | str = request.getfixturevalue(name)
    return place


@pytest.fixture
def desk(desk_place: Path | str) -> Iterator[Desk]:
    """A fresh desk, on SQLite and then on PostgreSQL."""
    opened = open_desk(desk_place)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_desk(sqlite_desk_path: Path) -> Iterator[Desk]:
    """A fresh desk on SQLite alone, for what does not depend on the database."""
    opened = open_desk(sqlite_desk_path)
    yield opened
    opened.close()


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Workplace:
    """A run made by hand and people at work on it, each call a transaction of its own.

    Its modes are ``leak`` and ``check``; every case is flagged for ``leak`` unless it is told otherwise.
    """

    MODES = ("leak", "check")

    def __init__(self, desk: Desk, now: datetime, config: ReviewConfig) -> None:
        self.desk, self.now, self.config = desk, now, config
        self.people: dict[str, Person] = {}
        self.keys: dict[str, int] = {}
        modes = [{"id": mode, "title": mode, "definition": "", "severity": 1.0} for mode in self.MODES]
        empty = dict.fromkeys(("cases_digest", "folder", "bundle_name", "bundle_digest", "config_digest"), "")
        with desk.writing() as session:
            run = Run(digest="d" * 64, name="run", cases=0, thresholds={"leak": 0.5}, added_at=now, **empty)
            run.codebook = {"name": "handmade", "version": "1", "modes": modes}
            session.add(run)
            session.flush()
            self.run_id = run.id

    def add(self, case_id: str, *arms: str, narrative: str = "He was told.", **given: Any) -> int:
        """Add a case behind the last; ``flags`` and ``fields`` are rows of their own, the rest is the case's."""
        flags, fields = given.pop("flags", ("leak",)), given.pop("fields", {})
        rank = len(self.keys) + 1
        values: dict[str, Any] = dict.fromkeys(("received", "original_id", "audit_stratum"))
        values |= {"run_id": self.run_id, "case_id": case_id, "rank": rank, "row": rank, "priority": 1 / rank}
        values |= {"digest": "", "file": "", "narrative": narrative, "details": {}, "explanation": "high"}
        values |= {"uncertainty": 0.5, "inclusion_probability": 1.0, "drawn_for_audit": False}
        values |= {"arms": list(arms or ("prompted",))}
        values |= {"flagged": sum(1 << place for place, mode in enumerate(self.MODES) if mode in flags)}
        case = CaseRow(**values | given)
        with self.desk.writing() as session:
            session.add(case)
            session.flush()
            for mode in self.MODES:
                score = 0.9 if mode in flags else 0.1
                place = {"case_id": case.id, "run_id": self.run_id, "rank": rank, "flag": mode in flags}
                session.add(ScoreRow(mode=mode, score=score, low=score, high=score, **place))
            session.add(EvidenceRow(case_id=case.id, mode="leak", start=0, end=2, share=1.0))
            for name, value in fields.items():
                session.add(FieldRow(case_id=case.id, run_id=self.run_id, name=name, value=value))
            add_to_index(session, [(case.id, f"{case_id} {narrative}")])
        self.keys[case_id] = case.id
        return case.id

    def hire(self, name: str, role: Role = Role.REVIEWER) -> Person:
        """An account for a person."""
        with self.desk.writing() as session:
            user = User(name=name, pseudonym=f"r-{name}", role=role, created_at=self.now)
            user.password_hash, user.disabled_at = None, None
            session.add(user)
            session.flush()
            runs = None if role == Role.ADMINISTRATOR else frozenset([self.run_id])
            self.people[name] = Person(user.id, name, user.pseudonym, role, runs)
        return self.people[name]

    def open(self, name: str, case_id: str) -> CaseFile:
        """Somebody opens a case."""
        with self.desk.writing() as session:
            return open_case(session, self.people[name], self.keys[case_id], self.config, self.now)

    def act(self, action: Callable[..., ReviewState], name: str, case_id: str, *given: Any, version: int = 0) -> Any:
        """Somebody does something to their review of a case; in its version as it is now, unless another is given."""
        person, key = self.people[name], self.keys[case_id]
        with self.desk.writing() as session:
            mine = select(Review.version).where(Review.case_id == key, Review.user_id == person.id)
            seen = version or session.scalar(mine) or 1
            return action(session, person, key, *given, seen, self.config, self.now)

    def finish(self, name: str, case_id: str, **verdicts: str) -> ReviewState:
        """Somebody opens a case, decides on modes and finishes."""
        self.open(name, case_id)
        for mode, verdict in verdicts.items():
            self.act(decide, name, case_id, mode, Verdict(verdict), "")
        state: ReviewState = self.act(finish, name, case_id)
        return state

    def case(self, case_id: str) -> CaseRow:
        """A case as it is now."""
        with self.desk.reading() as session:
            return session.get_one(CaseRow, self.keys[case_id])


@pytest.fixture
def work(desk: Desk, now: datetime) -> Workplace:
    """A run made by hand and people at work on it, on SQLite and then on PostgreSQL."""
    return Workplace(desk, now, ReviewConfig())


@pytest.fixture
def sqlite_work(sqlite_desk: Desk, now: datetime) -> Workplace:
    """A run made by hand and people at work on it, on SQLite alone."""
    return Workplace(sqlite_desk, now, ReviewConfig())


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture(scope="session")
def review_config() -> ReviewConfig:
    """Every case is read once, with the model's word beside it; tests of double review choose otherwise."""
    return ReviewConfig(double_share=0.0)


def _narrative(number: int, *shows: str) -> str:
    rng = random.Random(number)
    sentences = [" ".join(["The", *rng.choices(LEXICON, k=9)]) for _ in range(4)]
    for place, sentence in enumerate(shows):
        sentences.insert(2 * place + 1, sentence)
    return " ".join(f"{sentence} in case {number}." for sentence in sentences)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """A run of fourteen cases; read it, do not change it.

    ``told-*`` and ``went-*`` show one mode, ``both`` shows both, ``copy-1`` and ``copy-2`` say the same as
    ``told-1``, ``plain-*`` show none; two of those are drawn for the audit. ``emoji`` has code points beyond the
    basic plane, right-to-left text and a NUL, ``markup`` what a browser must not take for its own.
    """
    folder = tmp_path_factory.mktemp("run")
    told = _narrative(1, TOLD)
    narratives = {
        "told-1": told,
        "copy-1": told.replace(". ", ".\n"),
        "copy-2": told.replace(". ", ".  "),
        "told-2": _narrative(2, TOLD),
        "told-3": _narrative(3, TOLD),
        "went-1": _narrative(4, WENT),
        "went-2": _narrative(5, WENT),
        "both": _narrative(6, TOLD, WENT),
        "emoji": "\U0001f600 \u05e9\u05dc\u05d5\u05dd\0 " + _narrative(7, TOLD),
        "markup": "<script>alert(1)</script> {{ 7 * 7 }} '; DROP TABLE cases; -- " + _narrative(8, WENT),
        **{f"plain-{number}": _narrative(20 + number) for number in (1, 2, 3, 4)},
    }
    lines = [
        {
            "case_id": case_id,
            "narrative": narrative,
            "received": f"2026-01-{1 + place:02d}",
            "unit": ("north", "south", "<b>east</b>")[place % 3],
            "officer": f"PC {100 + place % 4}",
            "remark": None if place % 2 else "x" * 300,
        }
        for place, (case_id, narrative) in enumerate(narratives.items())
    ]
    lines[-1]["received"] = None
    source = folder / "intake.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    config = ScoreConfig(date_column="received", audit=2, audit_strata=1, minimum_known_words=0)
    score([source], folder / "run", bundle, config, ReadOptions())
    return folder / "run"


@pytest.fixture
def added(desk: Desk, run_folder: Path, bundle: Bundle, review_config: ReviewConfig, now: datetime) -> Run:
    """The run, put on the desk."""
    from secondlook.review.intake import add_run

    return add_run(desk, run_folder, bundle, review_config, now)


MakeUser = Callable[..., User]


@pytest.fixture
def make_user(now: datetime) -> MakeUser:
    """Make an account without a password: ``make_user(session, "ann", Role.REVIEWER, run)``, run to be assigned."""

    def make(session: Session, name: str, role: Role = Role.REVIEWER, *runs: Run) -> User:
        user = User(name=name, pseudonym=f"r-{name}", role=role, password_hash=None, created_at=now, disabled_at=None)
        session.add(user)
        session.flush()
        session.add_all(QueueAccess(run_id=run.id, user_id=user.id) for run in runs)
        session.flush()
        return user

    return make


# --- A run made by hand -------------------------------------------------------------------------------------------


class HandMade:
    """A run of as many cases as a test needs, with what was decided of them; :meth:`save` puts it on the desk.

    Its modes are ``leak``, ``check`` and ``absent``, each with a title like it.
    """

    MODES = ("leak", "check", "absent")

    def __init__(self, desk: Desk, now: datetime) -> None:
        self.desk, self._now = desk, now
        self._cases: dict[int, CaseRow] = {}
        self._pending: list[Base] = []
        self._users: dict[str, int] = {}
        key = next(_numbers)
        modes = [{"id": mode, "title": mode.title(), "definition": "", "severity": 1.0} for mode in self.MODES]
        self.run = Run(
            id=key,
            **dict.fromkeys(("cases_digest", "folder", "bundle_name", "bundle_digest", "config_digest"), ""),
            **{"digest": f"{key:064}", "name": f"run {key}", "cases": 0, "thresholds": {}, "added_at": now},
            codebook={"name": "handmade", "version": "1", "modes": modes},
        )
        self._pending.append(self.run)

    def case(
        self,
        *,
        flags: Collection[str] = (),
        fields: Mapping[str, str] | None = None,
        month: int | None = None,
        original: int | None = None,
        drawn: tuple[int, float] | None = None,
        status: str = "open",
    ) -> int:
        """Add a case; ``drawn`` is its stratum of the audit, and the probability of being drawn. Returns its key."""
        key, rank = next(_numbers), len(self._cases) + 1
        stratum, probability = drawn or (None, 1.0)
        self._cases[key] = CaseRow(
            **{"id": key, "run_id": self.run.id, "case_id": f"c{key}", "digest": "", "rank": rank, "row": rank},
            **{"priority": 0.5, "uncertainty": 0.5, "explanation": "", "file": "", "narrative": "", "details": {}},
            **{"original_id": original, "status": status, "arms": ["prompted"]},
            flagged=sum(mode_bit(self.run.codebook, mode) for mode in flags),
            **{"drawn_for_audit": bool(drawn), "audit_stratum": stratum, "inclusion_probability": probability},
            received=datetime(2026, month, 1, tzinfo=UTC) if month else None,
        )
        self._pending += [
            self._cases[key],
            *(
                ScoreRow(
                    **{"case_id": key, "run_id": self.run.id, "mode": mode, "rank": rank, "flag": mode in flags},
                    **dict.fromkeys(("score", "low", "high"), 0.9 if mode in flags else 0.1),
                )
                for mode in self.MODES
            ),
            *(
                FieldRow(case_id=key, run_id=self.run.id, name=name, value=value)
                for name, value in (fields or {}).items()
            ),
        ]
        self.run.cases = len(self._cases)
        return key

    def user(self, name: str) -> int:
        """The key of an account of that name."""
        if name not in self._users:
            self._users[name] = next(_numbers)
            made = {"role": Role.REVIEWER, "password_hash": None, "created_at": self._now, "disabled_at": None}
            self._pending.append(User(id=self._users[name], name=name, pseudonym=f"r-{name}", **made))
        return self._users[name]

    def review(
        self,
        case: int,
        verdicts: Mapping[str, str],
        *,
        by: str = "ann",
        kind: str = "single",
        arm: str = "prompted",
        at: datetime | None = None,
        seconds: float = 60.0,
        finished: bool = True,
        released: bool = False,
        marks: Collection[str] = (),
        status: str = "finished",
    ) -> None:
        """Add a review; ``status`` is the case's afterwards."""
        key, at = next(_numbers), at or self._now
        self._pending += [
            Review(
                **{"id": key, "case_id": case, "run_id": self.run.id, "user_id": self.user(by), "kind": kind},
                **{"arm": arm, "opened_at": at, "touched_at": at, "seconds": seconds},
                **{"finished_at": at if finished else None, "released_at": at if released else None},
            ),
            *(Decision(review_id=key, mode=mode, verdict=verdict, decided_at=at) for mode, verdict in verdicts.items()),
            *(Mark(id=next(_numbers), review_id=key, mode=mode, start=0, end=1, made_at=at) for mode in marks),
        ]
        self._cases[case].status = status

    def save(self) -> Self:
        """Put what was added since the last time on the desk."""
        with self.desk.writing() as session:
            for kind in (User, Run, CaseRow, ScoreRow, FieldRow, Review, Decision, Mark):
                session.add_all(row for row in self._pending if isinstance(row, kind))
                session.flush()
            session.add(self.run)
            session.add_all(self._cases.values())
        self._pending = []
        return self


@pytest.fixture
def hand_made(desk: Desk, now: datetime) -> Callable[[], HandMade]:
    """Begin a run made by hand: ``made = hand_made()``, ``made.case(flags={"leak"})``, ``made.save()``."""
    return lambda: HandMade(desk, now)
