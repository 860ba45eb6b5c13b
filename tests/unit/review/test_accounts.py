"""Who may do what at the desk, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select

from secondlook.config import ReviewConfig
from secondlook.errors import DeskError, MissingError, RefusedError
from secondlook.review import accounts
from secondlook.review.accounts import Person
from secondlook.review.database import Desk
from secondlook.review.record import first_break
from secondlook.review.tables import Entry, Role, Run, SignIn, SignInFailure, User

PASSWORD = "three words together"
CONFIG = ReviewConfig(sign_in_attempts=3, address_attempts=3, sign_in_minutes=15, idle_minutes=30, session_hours=12)


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    accounts._nobodys_hash.cache_clear()
    yield
    accounts._nobodys_hash.cache_clear()


@pytest.fixture
def ann(desk: Desk, now: datetime) -> Person:
    with desk.writing() as session:
        return accounts.add_user(session, "Ann", Role.REVIEWER, PASSWORD, now)


def _add_run(desk: Desk, now: datetime, name: str, digest: str) -> int:
    values = {
        "cases_digest": "",
        "folder": f"/runs/{name}",
        "bundle_name": "b",
        "bundle_digest": "",
        "config_digest": "",
    }
    run = Run(digest=digest, name=name, codebook={}, thresholds={}, cases=0, added_at=now, **values)
    with desk.writing() as session:
        session.add(run)
    return run.id


def _count(desk: Desk, table: type[SignIn] | type[SignInFailure]) -> int:
    with desk.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def _record(desk: Desk) -> list[tuple[str, str, dict[str, object]]]:
    with desk.reading() as session:
        assert first_break(session) is None
        entries = session.scalars(select(Entry).order_by(Entry.sequence))
        return [(entry.actor, entry.action, json.loads(entry.detail)) for entry in entries]


def test_whoever_knows_the_password_gets_a_session_of_which_only_digests_are_kept(
    desk: Desk, ann: Person, now: datetime
) -> None:
    signed = accounts.sign_in(desk, " ANN ", PASSWORD, "10.0.0.1", CONFIG, now)
    assert signed.person == ann
    again = accounts.signed_in(desk, signed.token, CONFIG, now)
    assert again == signed
    with desk.reading() as session:
        user, entry = session.scalars(select(User)).one(), session.scalars(select(SignIn)).one()
    assert PASSWORD not in str(user.password_hash)
    assert str(user.password_hash).startswith("$argon2id$")
    assert entry.token_hash != signed.token
    assert _record(desk)[-1] == (ann.pseudonym, "signed in", {"address": "10.0.0.1"})


@pytest.mark.parametrize(
    ("name", "password"), [("ann", "another three words"), ("nobody", PASSWORD), ("a\0\ud800", "")]
)
def test_a_wrong_name_and_a_wrong_password_are_answered_alike(
    desk: Desk, ann: Person, now: datetime, name: str, password: str
) -> None:
    with pytest.raises(RefusedError, match="The name or the password is not right"):
        accounts.sign_in(desk, name, password, "10.0.0.1", CONFIG, now)
    actor, action, detail = _record(desk)[-1]
    assert (action, detail) == ("sign-in failed", {"address": "10.0.0.1"})
    assert actor == (ann.pseudonym if name == "ann" else "system")


def test_an_unknown_name_costs_a_hash_too(
    desk: Desk, ann: Person, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[bytes | str] = []

    class Counting(PasswordHasher):
        def verify(self, *given: str | bytes) -> bool:
            verified.append(given[0])
            return super().verify(*given)

    monkeypatch.setattr(accounts, "_HASHER", Counting(time_cost=1, memory_cost=8, parallelism=1))
    for name in ("ann", "nobody"):
        with pytest.raises(RefusedError):
            accounts.sign_in(desk, name, "another three words", "10.0.0.1", CONFIG, now)
    assert len(verified) == 2


def test_too_many_failures_by_name_refuse_even_the_right_password_for_a_while(
    desk: Desk, ann: Person, now: datetime
) -> None:
    for place in range(3):
        with pytest.raises(RefusedError, match="not right"):
            accounts.sign_in(desk, "ann", "another three words", f"10.0.0.{place}", CONFIG, now)
    with pytest.raises(RefusedError, match="wait 15 minutes"):
        accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.9", CONFIG, now)
    later = now + timedelta(minutes=16)
    assert accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.9", CONFIG, later).person == ann


def test_too_many_failures_from_an_address_refuse_every_name(desk: Desk, ann: Person, now: datetime) -> None:
    for name in ("bob", "eve", "joe"):
        with pytest.raises(RefusedError, match="not right"):
            accounts.sign_in(desk, name, PASSWORD, "10.0.0.1", CONFIG, now)
    with pytest.raises(RefusedError, match="wait"):
        accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now)
    assert accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.2", CONFIG, now).person == ann


def test_success_forgives_ones_own_slips_and_no_others(desk: Desk, ann: Person, now: datetime) -> None:
    for name in ("ann", "bob"):
        with pytest.raises(RefusedError):
            accounts.sign_in(desk, name, "another three words", "10.0.0.1", CONFIG, now)
    accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now)
    assert _count(desk, SignInFailure) == 1


def test_attempts_at_the_same_time_are_throttled_too(desk: Desk, ann: Person, now: datetime) -> None:
    def attempt(number: int) -> str:
        try:
            accounts.sign_in(desk, "ann", f"another three words {number}", f"10.0.1.{number}", CONFIG, now)
        except RefusedError as refused:
            return str(refused)
        return "in"

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attempt, range(8)))
    assert sum("not right" in answer for answer in answers) == 3
    assert sum("wait" in answer for answer in answers) == 5


def test_an_office_with_one_address_signs_in_at_once(desk: Desk, now: datetime) -> None:
    names = [f"reader{number}" for number in range(8)]
    with desk.writing() as session:
        for name in names:
            accounts.add_user(session, name, Role.REVIEWER, PASSWORD, now)
    office = CONFIG.model_copy(update={"address_attempts": 8})

    def come_in(name: str) -> str:
        return accounts.sign_in(desk, name, PASSWORD, "10.0.0.1", office, now).person.name

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(come_in, names)) == names


def test_an_unknown_name_is_not_kept_in_the_clear(sqlite_desk: Desk, now: datetime) -> None:
    with pytest.raises(RefusedError):
        accounts.sign_in(sqlite_desk, "my secret typed into the wrong field", "", "10.0.0.1", CONFIG, now)
    with sqlite_desk.reading() as session:
        kept = session.scalars(select(SignInFailure)).one()
    assert "secret" not in kept.name
    assert "secret" not in str(_record(sqlite_desk))


@pytest.mark.parametrize(
    ("password", "what"),
    [("short", "at least 12"), ("x" * 2000, "at least 12"), ("Somebody-Long", "must not be the name")],
)
def test_a_weak_password_is_refused_whoever_sets_it(sqlite_desk: Desk, now: datetime, password: str, what: str) -> None:
    with pytest.raises(DeskError, match=what), sqlite_desk.writing() as session:
        accounts.add_user(session, "somebody-long", Role.REVIEWER, password, now)
    with sqlite_desk.writing() as session:
        accounts.add_user(session, "somebody-long", Role.REVIEWER, PASSWORD, now)
    with pytest.raises(DeskError, match=what), sqlite_desk.writing() as session:
        accounts.set_password(session, "somebody-long", password)


@pytest.mark.parametrize("name", ["", "  ", "a" * 65, "a\u202eb", "a\0b", "Single User"])
def test_what_cannot_be_a_name_is_refused(sqlite_desk: Desk, now: datetime, name: str) -> None:
    with pytest.raises(DeskError), sqlite_desk.writing() as session:
        accounts.add_user(session, name, Role.REVIEWER, PASSWORD, now)


def test_a_name_is_taken_once_however_it_is_written(desk: Desk, ann: Person, now: datetime) -> None:
    with pytest.raises(DeskError, match="such an account already"), desk.writing() as session:
        accounts.add_user(session, "ＡＮＮ", Role.REVIEWER, PASSWORD, now)


def test_an_accent_typed_in_two_ways_is_one_password(sqlite_desk: Desk, now: datetime) -> None:
    with sqlite_desk.writing() as session:
        accounts.add_user(session, "zoe", Role.REVIEWER, "cafe\u0301 au lait encore", now)
    assert (
        accounts.sign_in(sqlite_desk, "zoe", "caf\u00e9 au lait encore", "10.0.0.1", CONFIG, now).person.name == "zoe"
    )


@pytest.mark.parametrize("minutes_between", [1, 29])
def test_a_session_lasts_while_it_is_used_and_no_longer_than_its_hours(
    desk: Desk, ann: Person, now: datetime, minutes_between: int
) -> None:
    token = accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now).token
    end = now + timedelta(hours=CONFIG.session_hours)
    for step in range(1, 24):
        now += timedelta(minutes=minutes_between)
        assert accounts.signed_in(desk, token, CONFIG, now) is not None, step
    assert accounts.signed_in(desk, token, CONFIG, end) is None


def test_a_session_ends_when_it_is_left_alone(desk: Desk, ann: Person, now: datetime) -> None:
    token = accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now).token
    assert accounts.signed_in(desk, token, CONFIG, now + timedelta(minutes=30)) is None
    accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now + timedelta(minutes=31))
    assert _count(desk, SignIn) == 1  # what has ended is removed


def test_a_request_within_a_minute_of_another_writes_nothing(desk: Desk, ann: Person, now: datetime) -> None:
    token = accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now).token

    def seen_after(seconds: int) -> datetime:
        accounts.signed_in(desk, token, CONFIG, now + timedelta(seconds=seconds))
        with desk.reading() as session:
            return session.scalars(select(SignIn.seen_at)).one()

    assert seen_after(59) == now
    assert seen_after(61) == now + timedelta(seconds=61)


def _sign_out(desk: Desk, token: str, now: datetime) -> None:
    with desk.writing() as session:
        accounts.sign_out(session, token)


def _disable(desk: Desk, token: str, now: datetime) -> None:
    with desk.writing() as session:
        accounts.disable_user(session, "ann", now)


def _reset(desk: Desk, token: str, now: datetime) -> None:
    with desk.writing() as session:
        accounts.set_password(session, "ann", "other words together")


@pytest.mark.parametrize(
    ("end", "action"), [(_sign_out, "signed out"), (_disable, "user changed"), (_reset, "user changed")]
)
def test_signing_out_disabling_and_another_password_end_a_session(
    desk: Desk, ann: Person, now: datetime, end: Callable[[Desk, str, datetime], None], action: str
) -> None:
    token = accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now).token
    end(desk, token, now)
    assert accounts.signed_in(desk, token, CONFIG, now) is None
    assert _count(desk, SignIn) == 0
    assert _record(desk)[-1][1] == action


def test_a_disabled_account_is_closed_and_still_listed(desk: Desk, ann: Person, now: datetime) -> None:
    _disable(desk, "", now)
    with pytest.raises(RefusedError, match="not right"):
        accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now)
    with desk.reading() as session:
        assert [(one.name, one.disabled) for one in accounts.list_users(session)] == [("ann", True)]
        assert not accounts.has_accounts(session)


def test_changing_the_password_ends_other_sessions_and_opens_a_new_one(desk: Desk, ann: Person, now: datetime) -> None:
    first, second = (accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now).token for _ in range(2))
    with pytest.raises(RefusedError):
        accounts.change_password(desk, ann, "not that one at all", "other words together", "10.0.0.1", CONFIG, now)
    assert accounts.signed_in(desk, first, CONFIG, now) is not None
    changed = accounts.change_password(desk, ann, PASSWORD, "other words together", "10.0.0.1", CONFIG, now)
    assert [accounts.signed_in(desk, one, CONFIG, now) is None for one in (first, second, changed.token)] == [1, 1, 0]
    assert accounts.sign_in(desk, "ann", "other words together", "10.0.0.1", CONFIG, now).person == ann


def test_a_hash_of_yesterdays_parameters_is_made_anew(
    desk: Desk, ann: Person, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now)
    with desk.reading() as session:
        assert "t=2" in str(session.scalars(select(User.password_hash)).one())
    accounts.sign_in(desk, "ann", PASSWORD, "10.0.0.1", CONFIG, now)


def test_a_queue_is_read_by_those_it_is_assigned_to_and_by_administrators(
    desk: Desk, ann: Person, now: datetime
) -> None:
    march, april = _add_run(desk, now, "march", "a" * 64), _add_run(desk, now, "april", "b" * 64)
    with desk.writing() as session:
        for _ in range(2):
            accounts.assign_queue(session, march, "Ann", "system")
        boss = accounts.add_user(session, "boss", Role.ADMINISTRATOR, None, now)
    with desk.reading() as session:
        ann = accounts.person(session, ann.id)
    accounts.check_access(ann, march)
    accounts.check_access(boss, april)
    with pytest.raises(RefusedError, match="not assigned"):
        accounts.check_access(ann, april)
    assert [action for _, action, _ in _record(desk)].count("queue assigned") == 1
    with desk.reading() as session:
        assert {one.name: one.run_ids for one in accounts.list_users(session)} == {"ann": {march}, "boss": None}


def test_what_is_not_there_cannot_be_assigned(desk: Desk, ann: Person, now: datetime) -> None:
    for run, name in ((1, "ann"), (1, "nobody")):
        with pytest.raises(MissingError), desk.writing() as session:
            accounts.assign_queue(session, run, name, "system")
    with pytest.raises(MissingError), desk.reading() as session:
        accounts.person(session, 999)


def test_a_run_is_named_by_name_folder_or_digest(desk: Desk, now: datetime) -> None:
    march = _add_run(desk, now, "march", "a" * 64)
    twice = [_add_run(desk, now, "april", digest * 64) for digest in "bc"]
    with desk.reading() as session:
        assert {accounts.run_named(session, one).id for one in ("march", "/runs/march", "aaaaaa")} == {march}
        assert accounts.run_named(session, "b" * 12).id == twice[0]
        with pytest.raises(DeskError, match="say which by its digest: bbbbbbbbbbbb, cccccccccccc"):
            accounts.run_named(session, "april")
        for unknown in ("may", "aaa", "%%%%%%", ""):
            with pytest.raises(MissingError, match="april, march"):
                accounts.run_named(session, unknown)


def test_whoever_works_alone_has_one_account_without_a_password(sqlite_desk: Desk, now: datetime) -> None:
    first, second = accounts.enter(sqlite_desk, CONFIG, now), accounts.enter(sqlite_desk, CONFIG, now)
    assert first.person == second.person
    assert (first.person.role, first.person.run_ids) == (Role.ADMINISTRATOR, None)
    with sqlite_desk.reading() as session:
        assert not accounts.has_accounts(session)
    with pytest.raises(RefusedError):
        accounts.sign_in(sqlite_desk, accounts.SINGLE_USER, "", "127.0.0.1", CONFIG, now)
    accounts.leave(sqlite_desk)
    assert accounts.signed_in(sqlite_desk, first.token, CONFIG, now) is None
