"""What the command line says again, so that its help loads no database, is what the desk says."""

from __future__ import annotations

import inspect

from secondlook.cli import common, review
from secondlook.review import database, queue, tables
from secondlook.review.app import server


def test_the_choices_are_those_of_the_desk() -> None:
    assert [one.value for one in review.Next] == [one.value for one in queue.Order]
    assert [one.value for one in review.RoleName] == [one.value for one in tables.Role]


def test_the_defaults_are_those_of_the_desk() -> None:
    given = inspect.signature(review.open_run).parameters
    usual = server.Place()
    assert (given["host"].default, given["port"].default) == (usual.host, usual.port)
    assert database.DEFAULT.as_posix() == common.DEFAULT_DESK
