"""``secondlook review``: the reviewers' desk, and who may work at it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from secondlook.cli.common import DEFAULT_DESK, BundlePlace, DeskPlace, check_desk, find_bundle, progress_bar, safe
from secondlook.cli.review_exports import export
from secondlook.cli.review_records import audit, backup, restore

if TYPE_CHECKING:
    from secondlook.bundle import Bundle
    from secondlook.config import ReviewConfig
    from secondlook.review.database import Desk


class _RunOrCommand(TyperGroup):
    """A group in which a first word that is no command is a run, which is opened."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front where it was left out."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["open", *args]
        return super().parse_args(ctx, args)


review_app = typer.Typer(
    cls=_RunOrCommand,
    help="The reviewers' desk: 'secondlook review RUN' opens a run in the browser.",
)
user_app = typer.Typer(help="Accounts.", no_args_is_help=True)
review_app.add_typer(user_app, name="user")
for command in (export, audit, backup, restore):
    review_app.command(command.__name__)(command)

UserName = Annotated[str, typer.Argument(metavar="NAME", help="The name to sign in with.")]
FromStandardInput = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


class Next(StrEnum):
    """Which case comes next."""

    RANK = "rank"
    UNCERTAIN = "uncertain"
    DIVERSE = "diverse"
    RANDOM = "random"


class RoleName(StrEnum):
    """What an account may do."""

    REVIEWER = "reviewer"
    ADJUDICATOR = "adjudicator"
    ADMINISTRATOR = "administrator"


@review_app.command("open")
def open_run(
    run: Annotated[Path | None, typer.Argument(help="A folder that 'secondlook score' wrote.")] = None,
    desk: DeskPlace = DEFAULT_DESK,
    bundle: BundlePlace = None,
    config: Annotated[Path | None, typer.Option("--config", help="Choices, such as configs/review.yaml.")] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes any that is free.", min=0, max=65535)] = 8350,
    certificate: Annotated[Path | None, typer.Option("--certificate", help="TLS: the certificate, as PEM.")] = None,
    key: Annotated[Path | None, typer.Option("--key", help="TLS: its private key, as PEM.")] = None,
    behind_proxy: Annotated[
        str | None, typer.Option("--behind-proxy", metavar="ADDRESS", help="TLS is spoken by a proxy at this address.")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="A name by which browsers reach the desk. Repeatable.")
    ] = None,
    next_: Annotated[Next, typer.Option("--next", help="Which case comes next.")] = Next.RANK,
) -> None:
    """Put a run on the desk if it is not there yet, and serve the desk until Ctrl-C; without a run, as it is."""
    check_desk()
    from secondlook.config import ReviewConfig, load_config
    from secondlook.review.app.server import Place, access_of, check_place, serve
    from secondlook.review.database import open_desk

    choices = load_config(config, ReviewConfig)
    place = Place(host, port, certificate, key, behind_proxy, tuple(name or ()))
    check_place(place)
    if run is not None:
        _check_run(run)
    with open_desk(desk, create=run is not None) as opened:
        access = access_of(opened, place, lambda path: None)  # before the run is read, which takes its time
        if access.door is not None:  # who works alone has nobody to read a case a second time
            choices = choices.model_copy(update={"double_share": 0.0})
        if run is not None:
            _add(opened, run, bundle, choices)
        serve(opened, choices, place, next_.value, lambda line: typer.echo(safe(line)))
    typer.echo("Stopped.")


def _check_run(folder: Path) -> None:
    """See that there is a run before a desk is begun for it."""
    from secondlook.errors import RunError, did_you_mean

    if not (folder / "manifest.json").is_file():
        commands = [command.name or "" for command in review_app.registered_commands] + ["user"]
        hint = did_you_mean(str(folder), commands)
        raise RunError(f"{folder}: is not a folder that 'secondlook score' wrote: there is no manifest.json{hint}")


def _add(desk: Desk, folder: Path, bundle: str | None, config: ReviewConfig) -> None:
    from secondlook.review.intake import add_run, without_bundle

    with progress_bar() as progress:
        run = add_run(desk, folder, _bundle_of(bundle), config, _now(), progress)
    typer.echo(safe(f"{run.name}: {run.cases} cases on the desk {desk.name}"))
    if lacking := without_bundle(run):
        typer.echo(safe(lacking), err=True)


def _bundle_of(bundle: str | None) -> Bundle | None:
    """The bundle that is named or, without a name, the installed one; None where there is none."""
    from secondlook.bundle import load_bundle
    from secondlook.errors import BundleError

    if bundle is not None:
        return load_bundle(find_bundle(bundle))
    try:
        return load_bundle(find_bundle(None))
    except BundleError:
        return None


@user_app.command("add")
def add_user(
    name: UserName,
    role: Annotated[RoleName, typer.Option("--role", help="What the account may do.")] = RoleName.REVIEWER,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", metavar="RUN", help="A queue that they may read. Repeatable.")
    ] = None,
    password_stdin: FromStandardInput = False,
    desk: DeskPlace = DEFAULT_DESK,
) -> None:
    """Make an account; begins a desk where there is none."""
    check_desk()
    from secondlook.review import accounts
    from secondlook.review.database import open_desk
    from secondlook.review.record import SYSTEM
    from secondlook.review.tables import Role

    password = _password(password_stdin)
    with open_desk(desk, create=True) as opened, opened.writing() as session:
        person = accounts.add_user(session, name, Role(role.value), password, _now())
        for one in queue or ():
            accounts.assign_queue(session, accounts.run_named(session, one).id, name, SYSTEM)
    typer.echo(f"{person.name}: {person.role.value}; records and exports say {person.pseudonym}")
    if not queue and role is not RoleName.ADMINISTRATOR:
        typer.echo(f"They may read no queue yet: secondlook review assign {person.name} RUN")


@user_app.command("list")
def list_users(desk: DeskPlace = DEFAULT_DESK) -> None:
    """Show every account, its role and its queues."""
    check_desk()
    from rich.table import Table

    from secondlook.review import accounts
    from secondlook.review.database import open_desk
    from secondlook.terminal import console

    with open_desk(desk) as opened, opened.reading() as session:
        people, names = accounts.list_users(session), accounts.run_names(session)
    table = Table("name", "role", "pseudonym", "queues", "")
    for one in people:
        queues = "all" if one.run_ids is None else ", ".join(sorted(safe(names[run]) for run in one.run_ids))
        table.add_row(one.name, one.role.value, one.pseudonym, queues, "disabled" if one.disabled else "")
    console().print(table)


@user_app.command("disable")
def disable_user(name: UserName, desk: DeskPlace = DEFAULT_DESK) -> None:
    """Close an account and end its sessions; what it decided stays."""
    check_desk()
    from secondlook.review import accounts
    from secondlook.review.database import open_desk

    with open_desk(desk) as opened, opened.writing() as session:
        accounts.disable_user(session, name, _now())
    typer.echo(safe(f"{name}: disabled"))


@user_app.command("password")
def set_password(name: UserName, password_stdin: FromStandardInput = False, desk: DeskPlace = DEFAULT_DESK) -> None:
    """Give an account another password and end its sessions; failed sign-ins are forgotten."""
    check_desk()
    from secondlook.review import accounts
    from secondlook.review.database import open_desk

    with open_desk(desk) as opened:
        password = _password(password_stdin)
        with opened.writing() as session:
            accounts.set_password(session, name, password)
    typer.echo(safe(f"{name}: another password"))


@review_app.command("assign")
def assign(
    name: UserName,
    run: Annotated[str, typer.Argument(help="The queue: its name, folder, or how its digest begins.")],
    desk: DeskPlace = DEFAULT_DESK,
) -> None:
    """Let somebody read a queue."""
    check_desk()
    from secondlook.review import accounts
    from secondlook.review.database import open_desk
    from secondlook.review.record import SYSTEM

    with open_desk(desk) as opened, opened.writing() as session:
        found = accounts.run_named(session, run)
        accounts.assign_queue(session, found.id, name, SYSTEM)
    typer.echo(safe(f"{name}: may read {found.name}"))


def _password(from_standard_input: bool) -> str:
    from secondlook.errors import DeskError

    if from_standard_input:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise DeskError("a password is asked for in a terminal; elsewhere give --password-stdin")
    from getpass import getpass

    password = getpass("Password: ")
    if getpass("Again: ") != password:
        raise DeskError("the password was not typed the same way twice; nothing was changed")
    return password


def _now() -> datetime:
    return datetime.now(UTC)
