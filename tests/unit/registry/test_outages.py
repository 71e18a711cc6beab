"""A database that is away or locked for a while is waited for; one that stays away is one line and loses nothing."""

import errno
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, OperationalError

from plw.errors import RegistryAwayError, UserError
from plw.registry import database
from plw.registry.outages import address_of, explained, first_line, is_away
from plw.registry.owner import Owner
from plw.registry.rows import StageKey
from plw.registry.store import Registry

CALLS: dict[str, Callable[[Registry, StageKey, str, Any], object]] = {
    "ensure_cell": lambda registry, key, token, record: registry.ensure_cell(registry.cells()[0]),
    "heartbeat": lambda registry, key, token, record: registry.heartbeat(key, token),
    "finished_stages": lambda registry, key, token, record: not registry.finished_stages(study="none", scale="none"),
    "stage_rows": lambda registry, key, token, record: registry.stage_rows(),
    "cells": lambda registry, key, token, record: registry.cells(),
    "claim": lambda registry, key, token, record: registry.claim(
        key, kind="train", fingerprint="f", owner=Owner.here(), lease_timeout_s=60, now=time.time()
    ),
    "scores_frame": lambda registry, key, token, record: registry.scores_frame(study=key.study).empty,
    "finish": lambda registry, key, token, record: registry.finish(key, token, record),
}
"""Every call of a study, in an order in which each is true while the stage is claimed and then finished."""


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Another process's write that holds the SQLite file for so long."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(seconds, connection.close)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@contextmanager
def stopped(server: Any, seconds: float) -> Iterator[None]:
    """A server that is away for so long."""
    server.stop()
    timer = threading.Timer(seconds, server.start)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def _claimed(registry: Registry, cell: Any) -> tuple[StageKey, str]:
    stored = registry.ensure_cell(cell)
    key, owner = StageKey(study=stored.study, scale=stored.scale, cell=stored.cell, name="train"), Owner.here()
    registry.claim(key, kind="train", fingerprint="f-train", owner=owner, lease_timeout_s=60, now=time.time())
    return key, owner.token


def test_every_call_waits_for_a_locked_file(tmp_path, monkeypatch, make_cell, make_record, caplog):
    """Each says once that it waits, and that it waits no more."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    path = tmp_path / "registry.sqlite"
    waited: dict[str, bool] = {}
    with Registry.open(f"sqlite:///{path}", wait_s=30) as registry:
        key, token = _claimed(registry, make_cell())
        record = make_record(make_cell())
        for name, call in CALLS.items():
            caplog.clear()
            with locked(path, 0.3):
                assert call(registry, key, token, record), name
            said = [line.getMessage().removeprefix(f"sqlite:///{path}: the registry ") for line in caplog.records]
            waited[name] = said == ["does not answer (database is locked); waiting up to 30 s", "answers again"]
            assert waited[name] or not said, "a reader need not wait"
        assert any(waited.values())
        assert {(row.status, row.fingerprint) for row in registry.stage_rows(study=key.study)} == {("done", "f-train")}
        assert len(registry.scores_frame()) == len(record["scores"])


def test_every_call_waits_for_a_server_that_is_started_again(postgres_server, make_cell, make_record):
    with Registry.open(postgres_server.url, wait_s=60) as registry:
        key, token = _claimed(registry, make_cell(study="outage"))
        record = make_record(make_cell(study="outage"))
        with stopped(postgres_server, 2):
            started = time.monotonic()
            assert CALLS["heartbeat"](registry, key, token, record)
            assert time.monotonic() - started > 1
        for name, call in CALLS.items():
            with stopped(postgres_server, 0):
                assert call(registry, key, token, record), name
        assert {(row.status, row.fingerprint) for row in registry.stage_rows(study=key.study)} == {("done", "f-train")}
        assert len(registry.scores_frame(study="outage")) == len(record["scores"])


def test_a_database_that_stays_away_is_one_line(tmp_path, monkeypatch, make_cell):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    path = tmp_path / "registry.sqlite"
    with Registry.open(f"sqlite:///{path}", wait_s=0.2) as registry:
        key, token = _claimed(registry, make_cell())
        with locked(path, 1):
            with pytest.raises(RegistryAwayError) as caught:
                registry.heartbeat(key, token)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)
            started = time.monotonic()
            with pytest.raises(RegistryAwayError):
                registry.heartbeat(key, token, wait=False)
            assert time.monotonic() - started < 0.5
        assert registry.heartbeat(key, token)


def test_a_claim_whose_answer_was_lost_is_the_callers_own(tmp_path, make_cell):
    with Registry.open(f"sqlite:///{tmp_path}/registry.sqlite") as registry:
        stored = registry.ensure_cell(make_cell())
        key, owner = StageKey(study=stored.study, scale=stored.scale, cell=stored.cell, name="train"), Owner.here()
        words = {"kind": "train", "fingerprint": "f", "owner": owner, "lease_timeout_s": 60, "now": time.time()}
        assert registry.claim(key, **words) == registry.claim(key, **words)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("the database is busy"), True),
        (sqlite3.OperationalError("no such table: locks"), False),
        (sqlite3.OperationalError("disk I/O error"), False),
        (sqlite3.DatabaseError("the file is locked"), False),
        (OperationalError("SELECT 1", {}, RuntimeError("server closed the connection")), True),
        (OperationalError("SELECT 1", {}, OSError(errno.ENOSPC, "No space left on device")), False),
        (IntegrityError("INSERT", {}, RuntimeError("duplicate key")), False),
    ],
)
def test_what_may_go_by_itself_is_waited_for_and_nothing_else(error: Exception, away: bool) -> None:
    assert is_away(error) == away
    if isinstance(error, sqlite3.Error):
        assert is_away(OperationalError("SELECT 1", {}, error)) == away


def test_what_is_neither_damage_nor_absence_is_told_as_it_is() -> None:
    url = URL.create("sqlite", database="/runs/registry.sqlite")
    error = OperationalError("SELECT 1", {}, sqlite3.OperationalError("no such table: locks"))
    assert explained(error, url) is error
    damaged = explained(sqlite3.DatabaseError("file is not a database"), url)
    assert isinstance(damaged, UserError)
    assert "is damaged (file is not a database)" in str(damaged)


@pytest.mark.parametrize(("said", "line"), [("\n gone\nDETAIL: x", "gone"), (" \n", "RuntimeError")])
def test_of_what_a_database_says_the_first_line_is_told(said: str, line: str) -> None:
    assert first_line(RuntimeError(said)) == first_line(OperationalError("SELECT 1", {}, RuntimeError(said))) == line


def test_an_address_is_told_as_it_was_given_and_without_its_password() -> None:
    name = "/runs/50% of it/r g.sqlite"
    assert address_of(URL.create("sqlite", database=name)) == f"sqlite:///{name}"
    assert "secret" not in address_of(URL.create("postgresql", "me", "secret", "host", database="plw"))


@pytest.mark.parametrize("damage", ["header", "page"])
def test_a_damaged_file_is_named_with_its_remedy(tmp_path, make_cell, damage):
    path = tmp_path / "registry.sqlite"
    with Registry.open(f"sqlite:///{path}") as registry:
        for number in range(40):
            registry.ensure_cell(make_cell(number / 1000, payload="x" * 4000))
    content = bytearray(path.read_bytes())
    start = 0 if damage == "header" else 4096 * 2
    content[start : start + 4096 * 8] = b"\xff" * (4096 * 8)
    path.write_bytes(content)

    def use() -> None:
        with Registry.open(f"sqlite:///{path}") as registry:
            registry.cells()
            registry.stage_rows()
            registry.scores_frame()
            registry.ensure_cell(make_cell(0.9))

    with pytest.raises(UserError, match="plw registry rebuild") as caught:
        use()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
