"""The databases that a registry can be in, each with its way of being away."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from plw.testing.postgres import NotInstalledError, Postgres, postgres
from tests.faults.injector import Database


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server of our own."""

    server: Postgres

    @property
    def url(self) -> str:
        """Its address."""
        return self.server.url

    def cut(self, seconds: float) -> str:
        """kill -9, and start again."""
        self.server.kill()
        time.sleep(seconds)
        self.server.start()
        return f"PostgreSQL killed, and started again after {seconds:.1f} s"


@dataclass(frozen=True)
class File:
    """A SQLite file."""

    path: Path

    @property
    def url(self) -> str:
        """Its address."""
        return f"sqlite:///{self.path}"

    def cut(self, seconds: float) -> str:
        """Hold the file's lock."""
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
        return f"SQLite locked for {seconds:.1f} s"


@contextmanager
def database(runs: Path) -> Iterator[tuple[Database, str]]:
    """PostgreSQL where it is installed, otherwise a SQLite file among the results; and why, if it is not PostgreSQL."""
    try:
        with postgres("faults") as server:
            yield Server(server), ""
    except NotInstalledError as missing:
        yield File(runs / "registry.sqlite"), str(missing)
