"""A real PostgreSQL server of a test's or benchmark's own, which can be stopped, killed and started again."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 30.0
"""How long a server that was killed may take to be started again: its orphans have to end first."""


class NotInstalledError(Exception):
    """PostgreSQL or its driver is not there; the message says which."""


def postgres_programs() -> Path:
    """Folder of initdb and pg_ctl.

    Raises:
        NotInstalledError: no such folder.
    """
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    found = shutil.which("initdb")
    if not folders and not found:
        raise NotInstalledError("PostgreSQL's initdb is not installed")
    return folders[-1] if folders else Path(str(found)).parent


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A server with an empty database."""

    url: str
    folder: Path
    programs: Path
    options: str
    user: dict[str, Any]

    def pg_ctl(self, *words: str) -> None:
        """Run pg_ctl on the server's data."""
        places = ["-D", str(self.folder / "data"), "-o", self.options, "-l", str(self.folder / "log")]
        command = [str(self.programs / "pg_ctl"), *places, *words]
        with (self.folder / "pg_ctl.log").open("ab") as said:
            subprocess.run(command, check=True, cwd=self.folder, stdout=said, stderr=said, **self.user)

    def stop(self) -> None:
        """Stop at once, as in a crash."""
        self.pg_ctl("-m", "immediate", "stop")

    def start(self) -> None:
        """Start, and wait until connections are taken; after a kill the memory of the old server has to go first."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                return self.pg_ctl("-w", "start")
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def kill(self) -> None:
        """Kill the server's first process with -9; those of its connections end when they notice."""
        os.kill(int((self.folder / "data/postmaster.pid").read_text().split()[0]), signal.SIGKILL)


@contextmanager
def postgres(name: str, *, fsync: bool = False) -> Iterator[Postgres]:
    """A running server; it and its data are gone afterwards.

    Args:
        name: part of its folder's name, below /tmp: a socket's path has to be short.
        fsync: whether it sees each commit through to the disk, as servers do.

    Raises:
        NotInstalledError: PostgreSQL or psycopg is not installed.
    """
    programs = postgres_programs()
    if importlib.util.find_spec("psycopg") is None:
        raise NotInstalledError("psycopg is not installed")
    user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix=f"plw-{name}-", dir="/tmp"))
    if user:
        shutil.chown(folder, **user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["-D", str(folder / "data"), "-A", "trust", "-U", "plw", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync={'on' if fsync else 'off'}"
    url = f"postgresql+psycopg://plw@127.0.0.1:{port}/postgres"
    server = Postgres(url=url, folder=folder, programs=programs, options=options, user=user)
    try:
        subprocess.run([str(programs / "initdb"), *words], check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)
        server.start()
        try:
            yield server
        finally:
            with suppress(subprocess.CalledProcessError):
                server.stop()
    finally:
        shutil.rmtree(folder)
