"""What fifty reviewers at one desk wait for each page and each decision, and whether all that was saved is there.

python experiments/benchmarks/desk_load.py --desk sqlite --reviewers 50 --cases 100000 --seconds 60
python experiments/benchmarks/desk_load.py --desk postgresql

A run of that many narratives (the corpus's own, again and again, each with a number of its own; scores are drawn, and
mean nothing) is put on a desk by the desk's own intake, and a share of it is read beforehand. ``secondlook review``
serves it from a process of its own; the reviewers are in this one. They sign in within ``--arrive`` seconds, then look
at the queue, search, open cases, decide on every mode, mark, note, undo and finish, and pause between one action and
the next. Times are a client's: from before a request is sent until its answer is read.

Run and desk are kept below ``runs/`` for the next time; the measurement works on a copy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from secondlook.bench.work import choose_narratives
from secondlook.bundle import Bundle, default_bundle, load_bundle
from secondlook.config import ReviewConfig, ScoreConfig
from secondlook.readers import ReadOptions
from secondlook.review import accounts, record
from secondlook.review.database import Desk, align_keys, insert_rows, open_desk
from secondlook.review.intake import add_run
from secondlook.review.tables import CaseRow, Decision, Entry, Review, Role, Run, ScoreRow, User
from secondlook.schema import Span
from secondlook.score import score

SOURCE = Path("labels/annotations")
KEPT = Path("runs/desk_load")
PASSWORD = "a few plain words for a measurement"  # noqa: S105 (of accounts that exist while this runs)
UNITS, OFFICERS = 40, 3000
READ_BEFORE = 0.3
CHANGES = {"decide": "decided", "note": "noted", "mark": "marked", "undo": "undone", "finish": "finished"}
WORDS = ("statement", "station", "phoned", "bruise", "custody", "complaint", "daughter", "nobody came", "the letter")


# --- A desk -------------------------------------------------------------------------------------------------------


class Drawn:
    """A model whose log-odds are drawn, the same for the same text, and that is otherwise as the bundle's own."""

    def __init__(self, model: Any) -> None:
        self.modes, self.config, self.to_files = model.modes, model.config, model.to_files

    def score(self, narratives: Sequence[str], passages: Sequence[Sequence[Span]]) -> list[Any]:
        """Log-odds without meaning: some cases are flagged, most are not."""
        return [
            np.random.default_rng(zlib.crc32(narrative.encode())).normal(-7, 2, (len(spans), len(self.modes)))
            for narrative, spans in zip(narratives, passages, strict=True)
        ]


def make_run(folder: Path, cases: int, bundle: Bundle) -> Path:
    """A run of so many cases, made once."""
    run = folder / "run"
    if not (run / "manifest.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        intake = folder / "intake.parquet"
        pq.write_table(_intake(cases), intake, row_group_size=10_000)
        config = ScoreConfig(date_column="received", audit=500, top=100, group_duplicates=False, minimum_known_words=0)
        quick = replace(bundle, model=Drawn(bundle.model))
        with Progress() as progress:
            score([intake], run, quick, config, ReadOptions(), overwrite=True, progress=progress)
    return run


def _intake(cases: int) -> pa.Table:
    rng = random.Random(1)  # noqa: S311 (repeatable)
    narratives = choose_narratives(cases, SOURCE)
    days = [(datetime(2025, 1, 1) + timedelta(days=rng.randrange(500))).date().isoformat() for _ in range(cases)]
    return pa.table(
        {
            "case_id": [f"CMP-{number:07d}" for number in range(cases)],
            "narrative": [f"{one} My reference is {number:07d}." for number, one in enumerate(narratives)],
            "received": days,
            "unit": [f"unit {rng.randrange(UNITS)}" for _ in range(cases)],
            "officer": [f"PC {rng.randrange(OFFICERS)}" for _ in range(cases)],
        }
    )


def fill(desk: Desk, run_folder: Path, bundle: Bundle, reviewers: int) -> None:
    """Put the run on the desk, make the accounts, and let a share of the cases be read."""
    now = datetime.now(UTC)
    with Progress() as progress:
        run = add_run(desk, run_folder, bundle, ReviewConfig(), now, progress)
    roles = [Role.ADMINISTRATOR, Role.ADJUDICATOR, Role.ADJUDICATOR] + [Role.REVIEWER] * reviewers
    with desk.writing() as session:
        people = [
            accounts.add_user(session, f"reader{number}", role, PASSWORD, now)
            for number, role in enumerate(roles[:reviewers])
        ]
        for person in people:
            accounts.assign_queue(session, run.id, person.name, record.SYSTEM)
    _read_before(desk, run, [person.id for person in people], now)


def _read_before(desk: Desk, run: Run, people: Sequence[int], now: datetime) -> None:
    """The first cases that are read once are finished, with a verdict on each flagged mode."""
    rng = random.Random(2)  # noqa: S311 (repeatable)
    with desk.writing() as session:
        flags = defaultdict(list)
        chosen = session.query(ScoreRow.case_id, ScoreRow.mode)
        for key, mode in chosen.filter(ScoreRow.flag.is_(True), ScoreRow.rank <= run.cases * READ_BEFORE):
            flags[key].append(mode)
        once = session.query(CaseRow.id, CaseRow.arms).filter(CaseRow.rank <= run.cases * READ_BEFORE)
        keys = [key for key, arms in once if len(arms) == 1]
        reviews, decisions = [], []
        for number, key in enumerate(keys, start=1):
            at = now - timedelta(minutes=number)
            reviews.append(
                {"id": number, "case_id": key, "run_id": run.id, "user_id": rng.choice(people), "kind": "single"}
                | {"arm": "prompted", "note": "", "version": 2, "opened_at": at, "touched_at": at, "finished_at": at}
                | {"released_at": None, "seconds": rng.uniform(20, 300)}
            )
            decisions += [
                {"review_id": number, "mode": mode, "verdict": rng.choice(("confirm", "reject")), "reason": ""}
                | {"decided_at": at}
                for mode in flags[key]
            ]
        for table, rows in ((Review.__table__, reviews), (Decision.__table__, decisions)):
            for start in range(0, len(rows), 500):
                insert_rows(session, table, rows[start : start + 500])  # type: ignore[arg-type]
        for start in range(0, len(keys), 500):
            own = session.query(CaseRow).filter(CaseRow.id.in_(keys[start : start + 500]))
            own.update({"status": "finished", "next_arm": None}, synchronize_session=False)
        if not desk.is_sqlite:
            align_keys(session, Review.__table__)


@contextmanager
def a_desk(kind: str, run: Path, bundle: Bundle, reviewers: int) -> Iterator[str]:
    """A desk to measure on, as ``--desk`` takes it."""
    with tempfile.TemporaryDirectory(prefix="desk-", ignore_cleanup_errors=True) as name:
        if kind == "postgresql":
            with _postgresql(Path(name)) as url:
                _opened(url, run, bundle, reviewers)
                # What the server's own upkeep does within minutes.
                _postgres("vacuumdb", "-q", "--analyze", "-h", name, "-U", "desk", "postgres")
                yield url
            return
        kept, copy = run.parent / f"desk-{reviewers}.sqlite", run.parent / "measured.sqlite"
        if not kept.exists():
            fresh = kept.with_suffix(".unfinished")
            fresh.unlink(missing_ok=True)
            _opened(str(fresh), run, bundle, reviewers)
            fresh.rename(kept)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)
        shutil.copy(kept, copy)
        yield str(copy)


def _opened(place: str, run: Path, bundle: Bundle, reviewers: int) -> None:
    desk = open_desk(place, create=True)
    fill(desk, run, bundle, reviewers)
    desk.close()


@contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    """A server of Debian's own, with the settings it comes with."""
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    data = ("-D", f"{folder}/data")
    _postgres("initdb", *data, "-U", "desk", "-A", "trust", "-E", "UTF8", "--locale=C")
    settings = f"-c listen_addresses='' -c unix_socket_directories={folder}"
    _postgres("pg_ctl", *data, "-w", "-l", f"{folder}/log", "-o", settings, "start")
    try:
        yield f"postgresql://desk@/postgres?unix_sock={folder}/.s.PGSQL.5432"
    finally:
        _postgres("pg_ctl", *data, "-w", "-m", "fast", "stop")


def _postgres(program: str, *options: str) -> None:
    """One of PostgreSQL's programs; they refuse to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    if not found:
        raise SystemExit("PostgreSQL is not installed: there is no /usr/lib/postgresql/*/bin")
    command = [str(found[-1] / program), *options]
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


@dataclass
class Server:
    """``secondlook review`` in a process of its own."""

    process: subprocess.Popen[str]
    url: str

    def processor_seconds(self) -> float:
        """Of the process until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Its largest resident set until now, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024


@contextmanager
def serving(place: str) -> Iterator[Server]:
    """The real server, on a free port of the loopback."""
    command = [sys.executable, "-m", "secondlook", "review", "open", "--desk", place, "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 (for the type)
            found = re.search(r"http://\S+", process.stdout.readline())
            if found is None:
                raise SystemExit("the server did not start; see above")
            yield Server(process, found.group())
        finally:
            process.terminate()


# --- Reviewers ----------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What happened: times by page in milliseconds, errors, and every change that the server acknowledged."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[tuple[str, int]] = field(default_factory=Counter)
    changes: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class Facts:
    """What a reviewer may ask for."""

    run: int
    modes: list[str]
    reviewers: list[str]
    pages: int


class Reader:
    """One reviewer with a browser of their own, from signing in until the time is up."""

    def __init__(self, url: str, number: int, facts: Facts, think: float, until: float, seen: Seen) -> None:
        limits = httpx.Limits(max_connections=2, keepalive_expiry=60)  # a browser, too, keeps its connection
        self._client = httpx.AsyncClient(base_url=url, timeout=60, limits=limits)
        self._name, self._facts, self._think, self._until, self._seen = f"reader{number}", facts, think, until, seen
        self._rng = random.Random(number)  # noqa: S311 (repeatable)

    async def work(self, arrive: float) -> None:
        """Come in at some moment, and work."""
        await asyncio.sleep(self._rng.uniform(0, arrive))
        async with self._client:
            await self._ask("sign-in form", "GET", "/sign-in")
            form = {"name": self._name, "password": PASSWORD}
            await self._ask("sign-in", "POST", "/sign-in", data=form)
            page = await self._ask("queue", "GET", f"/queues/{self._facts.run}")
            for path in sorted(set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))):
                await self._ask("static", "GET", path)  # once: a browser keeps them
            while self._goes_on():
                await self._pause()
                await self._act()

    async def _act(self) -> None:
        kind = self._rng.choices(("queue", "case", "print", "figures", "patterns"), (30, 60, 2, 5, 3))[0]
        run = self._facts.run
        if kind == "queue":
            what, query = self._asked()
            await self._ask(what, "GET", f"/queues/{run}?{query}")
        elif kind == "case":
            await self._read()
        elif kind == "print":
            await self._ask("print", "GET", f"/cases/{self._rng.randrange(1, self._facts.pages * 50)}/print")
        elif kind == "figures":
            await self._ask("figures", "GET", f"/figures?run={run}")
        else:
            by = self._rng.choice(("unit", "officer"))
            await self._ask("patterns", "GET", f"/patterns?run={run}&by={by}&count=flagged")

    def _asked(self) -> tuple[str, str]:
        """What to filter the queue by."""
        rng, facts = self._rng, self._facts
        asked: dict[str, dict[str, object]] = {
            "queue": {},
            "queue, later page": {"page": rng.randrange(1, facts.pages + 1)},
            "queue, mode": {"mode": rng.choice(facts.modes), "status": rng.choice(("", "open", "finished"))},
            "queue, status": {"status": rng.choice(("open", "taken", "finished", "disputed"))},
            "queue, reviewer": {"reviewer": rng.choice(facts.reviewers)},
            "queue, days": {"since": f"2025-{rng.randrange(1, 13):02}-10", "until": "2026-03-01"},
            "queue, field": {"field.unit": f"unit {rng.randrange(UNITS)}"},
            "queue, two fields": {"field.unit": f"unit {rng.randrange(UNITS)}", "field.officer": "PC 7"},
            "queue, search": {"text": rng.choice(WORDS)},
            "queue, search of id": {"text": f"CMP-{rng.randrange(facts.pages * 50):07d}"},
            "queue, audit": {"audit": 1},
        }  # fmt: skip
        what = rng.choice(list(asked))
        return what, urlencode(asked[what])

    async def _read(self) -> None:
        """Take the next case, decide on it and finish it."""
        order = self._rng.choices(("rank", "uncertain", "diverse", "random"), (7, 1, 1, 1))[0]
        answer = await self._ask("next", "GET", f"/queues/{self._facts.run}/next?order={order}")
        place = answer.headers.get("location", "")
        if not place.startswith("/cases/"):
            self._seen.counts["nothing left"] += 1
            return
        page = await self._ask("case", "GET", place)
        version = re.search(r'data-version="(\d+)"', page.text)
        if version is None or 'data-finished="true"' in page.text:
            self._seen.counts["somebody else was first"] += 1
            return
        token = re.search(r'name="csrf" content="([^"]+)"', page.text)
        assert token is not None  # noqa: S101 (every page has it)
        case = _Case(int(place.split("/")[2].partition("?")[0]), int(version.group(1)), token.group(1))
        modes = re.findall(r'data-mode="([^"]+)"[^>]*data-needed', page.text)
        await self._decide(case, modes)

    async def _decide(self, case: _Case, modes: Sequence[str]) -> None:
        rng = self._rng
        for mode in modes:
            await self._pause()
            verdict = rng.choices(("confirm", "reject", "unsure"), (5, 4, 1))[0]
            await self._change(
                case, "decide", mode=mode, verdict=verdict, reason="as it says" if rng.random() < 0.3 else ""
            )
        if rng.random() < 0.2:
            await self._pause()
            start = rng.randrange(20)
            await self._change(case, "mark", mode=rng.choice(modes or self._facts.modes), start=start, end=start + 20)
            if rng.random() < 0.5:
                await self._pause()
                await self._change(case, "undo")
        if rng.random() < 0.3:
            await self._pause()
            await self._change(case, "note", text=f"Seen by {self._name}, {rng.random()}")
        await self._pause()
        await self._change(case, "finish")

    async def _change(self, case: _Case, what: str, **body: object) -> None:
        sent = {"version": case.version, **body}
        path = f"/api/cases/{case.key}/{what}"
        answer = await self._ask(what, "POST", path, json=sent, headers={"X-CSRF-Token": case.token})
        if answer.status_code == 200:
            case.version = answer.json()["version"]
            self._seen.changes.append({"who": self._name, "case": case.key, "what": what, "now": answer.json()})

    async def _ask(self, what: str, method: str, path: str, **sent: Any) -> httpx.Response:
        begun = time.perf_counter()
        try:
            answer = await self._client.request(method, path, **sent)
        except httpx.TransportError:
            answer = httpx.Response(599)  # of no server: no answer came
        self._seen.times[what].append((time.perf_counter() - begun) * 1e3)
        if answer.status_code >= 400 or answer.headers.get("location", "").startswith("/sign-in"):
            self._seen.errors[what, answer.status_code] += 1
        return answer

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.5, 1.5) * self._think)

    def _goes_on(self) -> bool:
        return time.monotonic() < self._until


@dataclass
class _Case:
    key: int
    version: int
    token: str


async def _work(url: str, facts: Facts, given: argparse.Namespace, seen: Seen) -> None:
    until = time.monotonic() + given.seconds
    readers = [Reader(url, number, facts, given.think, until, seen) for number in range(given.reviewers)]
    await asyncio.gather(*(reader.work(given.arrive) for reader in readers))


# --- What was seen, and what is there -------------------------------------------------------------------------------


def facts_of(place: str) -> Facts:
    """What the reviewers of a desk may ask for."""
    desk = open_desk(place)
    with desk.reading() as session:
        run = session.query(Run).one()
        people = [pseudonym for (pseudonym,) in session.query(User.pseudonym)]
    desk.close()
    return Facts(run.id, [mode["id"] for mode in run.codebook["modes"]], people, max(1, run.cases // 50))


def report(seen: Seen, given: argparse.Namespace) -> Table:
    """Times by page, in milliseconds."""
    title = f"{given.reviewers} reviewers, {given.cases:,} cases, {given.desk}, think time {given.think:g} s"
    table = Table("", "count", "p50", "p95", "p99", "slowest", "errors", title=title)
    for what in sorted(seen.times):
        taken = seen.times[what]
        failed = sum(count for (page, _), count in seen.errors.items() if page == what)
        shown = (f"{value:.0f}" for value in (*np.percentile(taken, (50, 95, 99)), max(taken)))
        table.add_row(what, str(len(taken)), *shown, str(failed))
    return table


def check(place: str, seen: Seen) -> list[str]:
    """What of the acknowledged changes is not in the database or the record; empty if all is."""
    desk = open_desk(place)
    with desk.reading() as session:
        problems = [f"record: {broken}"] if (broken := record.first_break(session)) else []
        names = {user.name: user.pseudonym for user in session.query(User)}
        ids = {user.name: user.id for user in session.query(User)}
        told = Counter(
            (actor, case_id, action, json.loads(detail).get("version"))
            for actor, case_id, action, detail in session.query(
                Entry.actor, Entry.case_id, Entry.action, Entry.detail
            ).filter(Entry.action.in_(list(CHANGES.values())))
        )
        for change in seen.changes:
            case_id = session.get_one(CaseRow, change["case"]).case_id
            said = (names[change["who"]], case_id, CHANGES[change["what"]], change["now"]["version"])
            if told.pop(said, 0) != 1:
                problems.append(f"{said}: is not in the record once")
        if told:
            problems.append(f"{len(told)} changes are in the record that nobody was told of")
        last = {(change["who"], change["case"]): change["now"] for change in seen.changes}
        for (who, key), now in last.items():
            review = session.query(Review).filter_by(case_id=key, user_id=ids[who]).one()
            stored = {d.mode: d.verdict for d in session.query(Decision).filter_by(review_id=review.id)}
            is_there = (review.version, review.note, stored, review.finished_at is not None)
            wanted = {mode: one["verdict"] for mode, one in now["decisions"].items()}
            if is_there != (now["version"], now["note"], wanted, now["finished"]):
                problems.append(f"case {key}, {who}: what is stored is not what was acknowledged")
    desk.close()
    return problems


def main() -> int:
    """Make what is needed, let them work, and say how it went; 1 if anything failed or is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--desk", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--reviewers", type=int, default=50)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--think", type=float, default=2.0, help="seconds between actions, half more or less")
    parser.add_argument("--arrive", type=float, default=10.0, help="seconds within which all sign in; 0: at once")
    given = parser.parse_args()
    bundle, seen = load_bundle(default_bundle()), Seen()
    run = make_run(KEPT / str(given.cases), given.cases, bundle)
    with a_desk(given.desk, run, bundle, given.reviewers) as place:
        facts = facts_of(place)
        with serving(place) as server:
            idle, begun = server.processor_seconds(), time.monotonic()
            asyncio.run(_work(server.url, facts, given, seen))
            took, used, memory = time.monotonic() - begun, server.processor_seconds() - idle, server.memory()
        problems = check(place, seen)
    asked = sum(map(len, seen.times.values()))
    console = Console()
    console.print(report(seen, given))
    console.print(f"{asked} requests in {took:.0f} s, {asked / took:.1f} a second; load {os.getloadavg()[0]:.1f}")
    console.print(
        f"server: {used / asked * 1e3:.1f} ms of processor a request, {used / took:.0%} of a core, {memory} MiB"
    )
    console.print(f"{len(seen.changes)} changes acknowledged; problems: {len(problems)}; {dict(seen.counts)}")
    for problem in [*map(str, seen.errors.items()), *problems[:20]]:
        console.print(problem, markup=False)
    return 1 if problems or seen.errors else 0


if __name__ == "__main__":
    sys.exit(main())
