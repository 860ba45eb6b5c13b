"""``secondlook review`` as people use it: who is let in, where it listens, and how it stops."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from typer.testing import CliRunner, Result

from secondlook.bundle import load_bundle
from secondlook.cli import app
from secondlook.config import ReviewConfig
from secondlook.errors import SecondLookError
from secondlook.review import accounts
from secondlook.review.app.server import Place, access_of
from secondlook.review.database import open_desk
from secondlook.review.intake import add_run
from secondlook.review.record import first_break
from secondlook.review.tables import CaseRow, Entry, Run

PASSWORD = "three words together"
TOLD = "The banan ketor lomed. The clerk told him everything in case 5. The priing sotus teved."


def _say(*words: str | Path, given: str = "", **environment: str) -> Result:
    return CliRunner().invoke(app, ["review", *map(str, words)], input=given, env=environment)


def _why_not(*words: str | Path, given: str = "") -> str:
    error = _say(*words, given=given).exception
    assert isinstance(error, SecondLookError), error
    return str(error)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A desk at which two people have accounts."""
    place = tmp_path / "desk.sqlite"
    for name, role in (("ann", "reviewer"), ("boss", "administrator")):
        done = _say("user", "add", name, "--role", role, "--password-stdin", "--desk", place, given=PASSWORD + "\n")
        assert done.exit_code == 0, done.output
    return place


@pytest.fixture(scope="module")
def run(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    (folder / "secret-id.txt").write_text(TOLD)
    done = CliRunner().invoke(
        app, ["score", str(folder / "secret-id.txt"), "--out", str(folder / "march"), "--bundle", str(tiny_bundle)]
    )
    assert done.exit_code == 0, done.output
    return folder / "march"


class Served:
    """A desk in a process of its own; what it printed until it could be visited."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.printed = ""
        assert process.stdout is not None
        while "Ctrl-C" not in self.printed:
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            self.printed += line
        found = re.search(r"https?://\S+", self.printed)
        assert found
        self.url = urlsplit(found.group())
        listening = re.search(r", port (\d+)", self.printed)
        self.port = int(listening.group(1)) if listening else self.url.port

    def stop(self) -> tuple[int, str, str]:
        """Ctrl-C: the exit status, and what else it printed on either stream."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, self.printed + out, err


@contextmanager
def _served(*words: str | Path) -> Iterator[Served]:
    command = [sys.executable, "-m", "secondlook", "review", *map(str, words), "--port", "0"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
    try:
        yield Served(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _ask(
    served: Served, path: str, form: dict[str, str] | None = None, context: ssl.SSLContext | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, str]:
    connection = (
        http.client.HTTPSConnection("127.0.0.1", served.port, timeout=30, context=context)
        if context
        else http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    )
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if form is None:
        connection.request("GET", path, headers=given)
    else:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", path, urlencode(form), kind | given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def _cookie(headers: http.client.HTTPMessage) -> str:
    return headers["set-cookie"].partition(";")[0]


def test_a_run_is_opened_by_a_link_that_works_once_and_ctrl_c_stops_it(
    run: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    place, choices = tmp_path / "desk.sqlite", tmp_path / "review.yaml"
    choices.write_text("double_share: 1.0\n")
    with _served(run, "--desk", place, "--bundle", tiny_bundle, "--config", choices) as served:
        assert "march: 1 cases" in served.printed
        link = f"{served.url.path}?{served.url.query}"
        status, headers, _ = _ask(served, link)
        assert (status, headers["location"]) == (303, "/")
        assert _ask(served, "/account", Cookie=_cookie(headers))[0] == 200
        assert _ask(served, link)[0] == 403
        status, out, err = served.stop()
    assert (status, err) == (0, "")
    assert "secret-id" not in out
    opened = open_desk(place)
    with opened.reading() as session:
        assert first_break(session) is None
        assert session.query(Run).count() == 1
        assert [case.arms for case in session.query(CaseRow)] == [["prompted"]]  # nobody is there to read it twice
        assert {"run added", "signed in"} <= {entry.action for entry in session.query(Entry)}
    opened.close()


def test_where_there_are_accounts_a_password_is_asked_for(desk: Path) -> None:
    with _served("--desk", desk) as served:
        assert "Sign in at http://127.0.0.1:" in served.printed
        assert "enter?key" not in served.printed
        assert _ask(served, "/account")[1]["location"] == "/sign-in?then=/account"
        status, headers, _ = _ask(served, "/sign-in", {"name": "ann", "password": PASSWORD})
        assert status == 303
        assert _ask(served, "/account", Cookie=_cookie(headers))[0] == 200
        assert _ask(served, "/sign-in", {"name": "ann", "password": "another three words"})[0] == 403
        assert served.stop()[0] == 0


def _certificate(folder: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=desk.example", "-addext", "subjectAltName=DNS:desk.example,IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*made, *subject, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


def test_others_reach_it_over_tls_with_its_own_certificate(desk: Path, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    names = ("--host", "0.0.0.0", "--name", "desk.example")
    with _served("--desk", desk, *names, "--certificate", certificate, "--key", key) as served:
        assert served.url.scheme == "https"
        context = ssl.create_default_context(cafile=certificate)
        form = {"name": "ann", "password": PASSWORD}
        status, headers, _ = _ask(served, "/sign-in", form, context, Host="desk.example")
        assert status == 303
        assert headers["set-cookie"].startswith("__Host-secondlook=")
        assert "Secure" in headers["set-cookie"]
        assert "strict-transport-security" in headers
        assert _ask(served, "/sign-in", None, context, Host="other.example")[0] == 400


def test_behind_a_proxy_only_the_proxy_is_believed(desk: Path) -> None:
    form = {"name": "ann", "password": "another three words"}
    told = {"Host": "desk.example", "X_Forwarded_Proto": "https", "X_Forwarded_For": "10.1.1.1"}
    with _served("--desk", desk, "--behind-proxy", "127.0.0.1", "--name", "desk.example") as served:
        assert "https://desk.example" in served.printed
        assert _ask(served, "/sign-in", form, **told)[0] == 403
        assert _ask(served, "/sign-in", None, Host="desk.example")[0] == 400
    with _served("--desk", desk, "--behind-proxy", "127.0.0.2", "--name", "desk.example") as served:
        assert _ask(served, "/sign-in", None, **told)[0] == 400
    opened = open_desk(desk)
    with opened.reading() as session:
        assert '"address":"10.1.1.1"' in session.query(Entry).filter_by(action="sign-in failed").one().detail
    opened.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "over TLS only; give --certificate and --key, or --behind-proxy"),
        (["--certificate", "c.pem"], "both --certificate and --key"),
        (["--certificate", "c.pem", "--key", "k.pem"], "--certificate c.pem: cannot be read"),
        (["--certificate", "bad.pem", "--key", "bad.pem"], "not a certificate with its key"),
        (["--certificate", "c.pem", "--key", "k.pem", "--behind-proxy", "10.0.0.1"], "not both"),
        (["--behind-proxy", "the-proxy", "--name", "desk.example"], "not an address"),
        (["--behind-proxy", "10.0.0.1"], "--name is missing"),
        (["--behind-proxy", "10.0.0.1", "--name", "desk.example"], "needs accounts"),
        (["--host", "no.such.host.invalid", "--behind-proxy", "10.0.0.1", "--name", "d"], "needs accounts"),
        (["nowhere"], "nowhere: is not a folder that 'secondlook score' wrote"),
        (["asign"], "did you mean 'assign'?"),
        (["--desk", "none.sqlite"], "there is no desk"),
        (["--config", "bad.yaml"], "did you mean 'idle_minutes'?"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    open_desk("runs/desk.sqlite", create=True).close()
    Path("bad.pem").write_text("no certificate")
    Path("bad.yaml").write_text("idle_minute: 3\n")
    assert message in _why_not(*words)
    assert not Path("nowhere").exists()


def test_a_mistyped_run_begins_no_desk(tmp_path: Path) -> None:
    _why_not(tmp_path / "nowhere", "--desk", tmp_path / "new.sqlite")
    assert not (tmp_path / "new.sqlite").exists()


def test_a_port_in_use_is_named(desk: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} is in use" in _why_not("--desk", desk, "--port", str(port))


def test_accounts_are_made_listed_and_closed(desk: Path) -> None:
    place = {"SECONDLOOK_DESK": str(desk), "COLUMNS": "120"}
    assert "such an account" in str(_say("user", "add", "Ann", "--password-stdin", given=PASSWORD, **place).exception)
    assert "at least 12" in str(_say("user", "password", "ann", "--password-stdin", given="x\n", **place).exception)
    assert "there is no such account" in str(_say("user", "disable", "nobody", **place).exception)
    assert _say("user", "password", "ann", "--password-stdin", given="other words together\n", **place).exit_code == 0
    assert _say("user", "disable", "ann", **place).exit_code == 0
    listed = _say("user", "list", **place).output
    assert re.search(r"ann .*reviewer .*r-[0-9a-f]{4} .*disabled", listed)
    assert re.search(r"boss .*administrator .*all", listed)
    assert PASSWORD not in listed


def test_without_a_terminal_no_password_is_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "desk.sqlite"
    assert "--password-stdin" in _why_not("user", "add", "ann", "--desk", place, given=PASSWORD)
    assert not place.exists()


def test_a_queue_is_assigned_by_its_name(desk: Path, run: Path, tiny_bundle: Path) -> None:
    opened = open_desk(desk)
    add_run(opened, run, load_bundle(tiny_bundle), ReviewConfig(), datetime.now(UTC))
    opened.close()
    assert "no such queue on this desk; there are: march" in _why_not("assign", "ann", "april", "--desk", desk)
    assert "may read march" in _say("assign", "ann", "march", "--desk", desk).output
    added = _say("user", "add", "eve", "--queue", str(run), "--password-stdin", "--desk", desk, given=PASSWORD)
    assert added.exit_code == 0, added.output
    listed = _say("user", "list", "--desk", desk, COLUMNS="120").output
    assert len(re.findall(r"(?:ann|eve) .*march", listed)) == 2


def test_with_the_first_account_whoever_worked_alone_is_signed_out(tmp_path: Path) -> None:
    place, now = tmp_path / "desk.sqlite", datetime.now(UTC)
    opened = open_desk(place, create=True)
    assert access_of(opened, Place(), print).door is not None
    token = accounts.enter(opened, ReviewConfig(), now).token
    assert _say("user", "add", "ann", "--password-stdin", "--desk", place, given=PASSWORD).exit_code == 0
    assert access_of(opened, Place(), print).door is None
    assert accounts.signed_in(opened, token, ReviewConfig(), now) is None
    opened.close()
