"""What a reviewer was told is saved stays saved: the real server, and PostgreSQL itself, are killed under load.

``SECONDLOOK_KILLS=100`` kills as often; by default a few times.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from secondlook.bundle import load_bundle  # noqa: E402
from secondlook.config import ReviewConfig, ScoreConfig  # noqa: E402
from secondlook.readers import ReadOptions  # noqa: E402
from secondlook.review import accounts  # noqa: E402
from secondlook.review.database import Desk, open_desk  # noqa: E402
from secondlook.review.inquiry import verify  # noqa: E402
from secondlook.review.intake import add_run  # noqa: E402
from secondlook.review.record import SYSTEM  # noqa: E402
from secondlook.review.tables import CaseRow, Entry, Role, User  # noqa: E402
from secondlook.score import score  # noqa: E402

KILLS = int(os.environ.get("SECONDLOOK_KILLS", "5"))
CASES, WRITERS = max(120, 5 * KILLS), 4
PASSWORD = "a few plain words to come in"
ACTIONS = {
    "decide": "decided",
    "mark": "marked",
    "unmark": "unmarked",
    "note": "noted",
    "undo": "undone",
    "finish": "finished",
}
MODES = ["told_suspect", "nobody_went"]
PATIENCE = 120
"""Seconds within which whatever is waited for must happen."""


# --- A desk, its server, and PostgreSQL ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    shows = ("The clerk told him everything", "Nobody went to her house", "The banan ketor lomed")
    words = ["tevor", "priing", "sotus", "teved", "wilan", "niser", "pruan", "ketus", "nised", "lomor"]
    rng = random.Random(3)
    with (folder / "intake.jsonl").open("w") as file:
        for number in range(CASES):
            told = [f"The {' '.join(rng.choices(words, k=8))} in case {number}." for _ in range(3)]
            narrative = " ".join([*told, f"{shows[number % 3]} in case {number}."])
            file.write(json.dumps({"case_id": f"c{number}", "narrative": narrative}) + "\n")
    config = ScoreConfig(minimum_known_words=0, group_duplicates=False)
    score([folder / "intake.jsonl"], folder / "run", load_bundle(tiny_bundle), config, ReadOptions())
    return folder / "run"


def _prepare(place: str, run: Path, bundle: Path) -> None:
    desk, now = open_desk(place, create=True), datetime.now(UTC)
    added = add_run(desk, run, load_bundle(bundle), ReviewConfig(double_share=0.3), now)
    with desk.writing() as session:
        for number in range(WRITERS):
            accounts.add_user(session, f"writer{number}", Role.REVIEWER, PASSWORD, now)
            accounts.assign_queue(session, added.id, f"writer{number}", SYSTEM)
    desk.close()


class Server:
    """``secondlook review`` on one port of the loopback, as often as it is started."""

    def __init__(self, place: str, log: Path) -> None:
        self._place, self._log = place, log
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "secondlook",
            "review",
            "open",
            "--desk",
            self._place,
            "--port",
            str(self.port),
        ]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
        with self._log.open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = self.process.stdout.readline()
            assert line, self._log.read_text()
            said += line

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Postgres:
    """A server of PostgreSQL with the settings it comes with, in a folder of its own."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has 107 bytes at most
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-U", "desk", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.url = f"postgresql://desk@/postgres?unix_sock={self.folder}/.s.PGSQL.5432"
        self.start()

    def _run(self, program: str, *options: str) -> None:
        prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*prefix, str(self._binaries / program), "-D", f"{self.folder}/data", *options]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd="/", check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        settings = f"-c listen_addresses='' -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "-w", "-l", f"{self.folder}/log", "-o", settings, "start")

    def kill(self) -> None:
        """Kill it; its own processes end once they see that, and only then can it be started again."""
        leader = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        children = [int(pid) for pid in Path(f"/proc/{leader}/task/{leader}/children").read_text().split()]
        os.kill(leader, signal.SIGKILL)
        until = time.monotonic() + PATIENCE
        while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < until:
            time.sleep(0.05)

    def close(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("PostgreSQL is not installed: there is no /usr/lib/postgresql/*/bin/initdb")
    server = Postgres(found[-1].parent)
    yield server
    server.close()


# --- Those who write ------------------------------------------------------------------------------------------------


@dataclass
class Told:
    """A change that a writer knows to be saved: the server said so, or showed it after it had been killed."""

    who: str
    case: int
    what: str
    sent: dict[str, Any]
    state: dict[str, Any]


@dataclass
class Writer:
    """Works at cases one after the other, as the desk's own page does: what got no answer is sent again."""

    name: str
    url: str
    stop: threading.Event
    told: list[Told] = field(default_factory=list)
    found_later: int = 0
    again: int = 0
    failed: BaseException | None = None

    def __post_init__(self) -> None:
        self._rng = random.Random(self.name)
        self._client = httpx.Client(base_url=self.url, timeout=30)
        self._token = ""
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        try:
            assert self._ask("POST", "/sign-in", data={"name": self.name, "password": PASSWORD}).status_code == 303
            while not self.stop.is_set():
                self._read_one()
        except BaseException as error:
            self.failed = error
        finally:
            self._client.close()

    def _ask(self, method: str, path: str, **sent: Any) -> Any:
        """Ask until there is an answer; a page that only reads may be asked for twice."""
        return self._once_answered(lambda: self._client.request(method, path, **sent))

    def _once_answered(self, ask: Any) -> Any:
        until = time.monotonic() + PATIENCE
        while True:
            with suppress(httpx.TransportError):
                answer = ask()
                if answer.status_code != 503:
                    return answer
            assert time.monotonic() < until, "no answer for long"
            time.sleep(0.1)

    def _read_one(self) -> None:
        place = self._ask("GET", "/queues/1/next").headers["location"]
        if not place.startswith("/cases/"):
            self.stop.wait(0.2)
            return
        page = self._ask("GET", place)
        version = re.search(r'data-version="(\d+)"', page.text)
        if version is None:  # somebody else was first
            return
        found = re.search(r'name="csrf" content="([^"]+)"', page.text)
        assert found
        self._token = found.group(1)
        case, state = int(place.split("/")[2].partition("?")[0]), {"version": int(version.group(1)), "marks": []}
        rng = self._rng
        for _ in range(rng.randrange(2, 12)):
            if self.stop.is_set():
                return
            what, body = rng.choice(self._possible(state))
            state = self._change(case, what, body, state["version"])
        for mode in MODES:
            state = self._change(
                case, "decide", {"mode": mode, "verdict": "reject", "reason": str(rng.random())}, state["version"]
            )
        self._change(case, "finish", {}, state["version"])

    def _possible(self, state: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        rng = self._rng
        start = next(
            n for n in iter(lambda: rng.randrange(60), None) if n not in {mark["start"] for mark in state["marks"]}
        )
        verdict = rng.choice(("confirm", "reject", "unsure"))
        possible: list[tuple[str, dict[str, Any]]] = [
            ("decide", {"mode": rng.choice(MODES), "verdict": verdict, "reason": str(rng.random())}),
            ("mark", {"mode": rng.choice(MODES), "start": start, "end": start + 20}),
            ("note", {"text": f"{self.name}: {rng.random()}"}),
        ]
        if state["marks"]:
            possible.append(("unmark", {"mark_id": rng.choice(state["marks"])["id"]}))
        if state.get("can_undo"):
            possible.append(("undo", {}))
        return possible

    def _change(self, case: int, what: str, body: dict[str, Any], version: int) -> dict[str, Any]:
        sent, tries = {"version": version, **body}, 0

        def send() -> Any:
            nonlocal tries
            tries += 1
            return self._client.post(f"/api/cases/{case}/{what}", json=sent, headers={"X-CSRF-Token": self._token})

        answer = self._once_answered(send)
        self.again += tries - 1
        if answer.status_code == 409 and tries > 1:  # it was saved, and the answer was lost
            answer = self._ask("GET", f"/api/cases/{case}")
            self.found_later += 1
        assert answer.status_code == 200, (what, tries, answer.status_code, answer.text)
        state: dict[str, Any] = answer.json()
        assert state["version"] == version + 1
        self.told.append(Told(self.name, case, what, sent, state))
        return state


def _at_work(port: int) -> list[Writer]:
    stop = threading.Event()
    writers = [Writer(f"writer{number}", f"http://127.0.0.1:{port}", stop) for number in range(WRITERS)]
    for writer in writers:
        writer.thread.start()
    return writers


def _wait_for_work(writers: list[Writer], more: int) -> None:
    """Until so many more changes are saved."""
    before, until = sum(len(writer.told) for writer in writers), time.monotonic() + PATIENCE
    while sum(len(writer.told) for writer in writers) < before + more:
        assert time.monotonic() < until, "nothing is saved any more"
        assert [writer.failed for writer in writers if writer.failed] == []
        time.sleep(0.005)


def _finish(writers: list[Writer]) -> list[Told]:
    writers[0].stop.set()
    for writer in writers:
        writer.thread.join(PATIENCE)
    assert [writer.failed for writer in writers if writer.failed] == []
    return [told for writer in writers for told in writer.told]


def _check(desk: Desk, told: list[Told]) -> None:
    """Everything that was told is there, once, and nothing else is."""
    with desk.reading() as session:
        checked = verify(session)
        assert checked.problems == []
        pseudonyms = dict(session.query(User.name, User.pseudonym).tuples())
        ids = dict(session.query(CaseRow.id, CaseRow.case_id).tuples())
        entries = session.query(Entry).filter(Entry.action.in_(ACTIONS.values())).all()
        recorded = Counter((e.actor, e.case_id, e.action, json.loads(e.detail)["version"]) for e in entries)
        assert recorded == Counter((pseudonyms[t.who], ids[t.case], ACTIONS[t.what], t.state["version"]) for t in told)
        details = {(e.actor, e.case_id, json.loads(e.detail)["version"]): json.loads(e.detail) for e in entries}
    for one in told:
        detail = details[pseudonyms[one.who], ids[one.case], one.state["version"]]
        said = {name: one.sent[name] for name in ("mode", "verdict", "reason", "start", "end") if name in one.sent}
        assert {name: detail.get(name) for name in said} == said
    with desk.reading() as session:
        for (who, case), last in {(one.who, one.case): one.state for one in told}.items():
            stored = _stored(session, pseudonyms[who], case)
            assert stored == {name: last[name] for name in stored}


def _stored(session: Any, pseudonym: str, case: int) -> dict[str, Any]:
    from secondlook.review.decisions import state_of
    from secondlook.review.tables import Review

    review = (
        session.query(Review)
        .join(User, User.id == Review.user_id)
        .filter(Review.case_id == case, User.pseudonym == pseudonym)
        .one()
    )
    state = state_of(session, review)
    return {
        "version": state.version, "note": state.note, "finished": state.finished,
        "decisions": {mode: {"verdict": verdict, "reason": reason} for mode, (verdict, reason) in state.decisions.items()},
        "marks": [{"id": mark.id, "mode": mark.mode, "start": mark.start, "end": mark.end} for mark in state.marks],
    }  # fmt: skip


def _kill_and_kill(place: str, tmp_path: Path) -> list[Writer]:
    """Kill the server as often as is asked for while everybody writes; in the end it stops as it should."""
    log = tmp_path / "log"
    server, rng = Server(place, log), random.Random(KILLS)
    writers = _at_work(server.port)
    try:
        for _ in range(KILLS):
            _wait_for_work(writers, rng.randrange(1, 30))
            time.sleep(rng.uniform(0, 0.05))
            server.kill()
            server.start()
        _wait_for_work(writers, 10)
        told = _finish(writers)
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
    finally:
        writers[0].stop.set()
        server.kill()
    assert log.read_text() == ""
    desk = open_desk(place)
    try:
        _check(desk, told)
    finally:
        desk.close()
    return writers


def _say(writers: list[Writer]) -> None:
    told, again, later = (
        sum(map(count, writers)) for count in (lambda w: len(w.told), lambda w: w.again, lambda w: w.found_later)
    )
    print(f"{KILLS} kills, {told} changes saved, {again} sent again, {later} of them had been saved")


def test_a_killed_server_loses_and_doubles_nothing_on_sqlite(run: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "desk.sqlite"
    _prepare(str(place), run, tiny_bundle)
    _say(_kill_and_kill(str(place), tmp_path))
    connection = sqlite3.connect(place)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_a_killed_server_loses_and_doubles_nothing_on_postgresql(
    postgres: Postgres, run: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    _prepare(postgres.url, run, tiny_bundle)
    _say(_kill_and_kill(postgres.url, tmp_path))


def test_a_killed_postgresql_loses_and_doubles_nothing(
    postgres: Postgres, run: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    _prepare(postgres.url, run, tiny_bundle)
    server = Server(postgres.url, tmp_path / "log")
    writers = _at_work(server.port)
    try:
        for _ in range(2):
            _wait_for_work(writers, 20)
            postgres.kill()
            postgres.start()
        _wait_for_work(writers, 20)
        told = _finish(writers)
    finally:
        writers[0].stop.set()
        server.kill()
    assert (tmp_path / "log").read_text() == ""
    desk = open_desk(postgres.url)
    try:
        _check(desk, told)
    finally:
        desk.close()
