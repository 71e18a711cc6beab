"""Opens the registry's database: the address checked, the tables made once, an older schema brought to this one."""

import os
import re
import shutil
import sqlite3
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Inspector, create_engine, event, inspect, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from plw.errors import RegistryAwayError, UserError
from plw.registry.migrate import lock_schema, schema_version, upgrade_schema
from plw.registry.outages import address_of, first_line, outlast, sqlite_path
from plw.registry.owner import LEASE_TIMEOUT_S
from plw.registry.schema import SCHEMA_VERSION, meta, metadata

BUSY_SECONDS = 60.0
"""How long one process waits for another's write to end."""
CONNECT_TIMEOUT_S = 10
"""How long a server has to take a connection."""
KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
"""A server whose machine or network is gone without a word is noticed within a minute (the last: milliseconds)."""


DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
ADDRESSES = "sqlite:///FILE or postgresql+psycopg://USER@HOST:PORT/DATABASE"

FOREIGN = "holds tables that are no registry of plw; give another registry.url"


def parse_url(address: str) -> URL:
    """Read a SQLAlchemy address; a relative SQLite path is taken from the working folder of now.

    A SQLite file's name is taken as it is: a folder may have a `?` or a `%20` in its name, which SQLAlchemy would cut
    or read as a space.

    Raises:
        UserError: not an address, or neither a SQLite file nor a PostgreSQL database.
    """
    scheme, _, file = address.partition(":///")
    try:
        url = URL.create(scheme, database=file) if scheme.split("+")[0] == "sqlite" else make_url(address)
    except (ArgumentError, ValueError):
        # A ValueError is a port that is no number.
        shown = re.sub("(/[^/:@]*:).*@", r"\1***@", address)
        raise UserError(f"registry.url: {shown!r} is not a database address; allowed: {ADDRESSES}") from None
    if url.drivername not in DRIVERS:
        raise UserError(f"registry.url: {url.drivername} is not supported; allowed: {ADDRESSES}")
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise UserError("registry.url: a SQLite registry needs a file, such as sqlite:///runs/registry.sqlite")
        url = url.set(database=str(Path(str(url.database)).absolute()))
    return url


def shown_address(address: str) -> str:
    """A registry's address for messages: as it is given, without its password; raises as ``parse_url``."""
    return address_of(parse_url(address))


def connect(url: URL, *, create: bool, wait_s: float = 0.0, leave: bool = False) -> Engine:
    """An engine on a database whose tables are there and of this schema version; several processes may do this at once.

    Args:
        url: from ``parse_url``.
        create: make the database's file, its folder and its tables where they are missing.
        wait_s: seconds to wait for a database that is away or locked.
        leave: an older schema as it is, for ``migrate``.

    Raises:
        UserError: missing (``create`` off), not reachable, not writable, not a registry, damaged, or of a schema that
            is newer, or older and not this machine's own file.
        RegistryAwayError: away for longer than ``wait_s``, where that is above 0.
    """
    where = address_of(url)
    path = sqlite_path(url)
    if path is not None and path.is_dir():
        raise UserError(f"{where}: {path} is a folder; give a file in it, such as {path / 'registry.sqlite'}")
    if path is not None and not path.exists():
        if not create:
            raise UserError(f"{path}: no registry there; `plw run` makes one, `plw registry rebuild` restores one")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{path.parent}: cannot make the registry's folder ({error.strerror})") from None
    try:
        engine = _sqlite_engine(url) if path is not None else _server_engine(url)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        raise UserError(f"{where}: the database driver is missing ({error}); pip install 'plw[postgres]'") from None

    def prepare() -> None:
        if path is not None and not is_read_only(path):
            _switch_to_wal(path)
        version = _prepare(engine, where, create)
        if version != SCHEMA_VERSION and not leave:
            _migrate_own(engine, where, version)

    try:
        outlast(prepare, url, wait_s)
    except (DatabaseError, sqlite3.DatabaseError, RegistryAwayError) as error:
        engine.dispose()
        if isinstance(error, RegistryAwayError) and wait_s > 0:
            raise
        cause = error.__cause__ if isinstance(error, RegistryAwayError) else error
        assert isinstance(cause, DatabaseError | sqlite3.DatabaseError)
        what = "the path, its rights and free space" if path is not None else "host, port, database, user and rights"
        raise UserError(f"{where}: cannot open the registry ({first_line(cause)}); check {what}") from None
    except BaseException:
        engine.dispose()
        raise
    return engine


def migrate_registry(url: str, *, lease_timeout_s: float = LEASE_TIMEOUT_S) -> tuple[int, Path | None]:
    """Bring the registry at an address to this plw's schema, as :func:`plw.registry.migrate.upgrade_schema`.

    Raises:
        UserError: as ``connect`` and ``upgrade_schema``.
        StorageError: it cannot be written.
    """
    address = parse_url(url)
    engine = connect(address, create=False, leave=True)
    try:
        path = sqlite_path(address)
        if path is not None and is_read_only(path):
            raise UserError(f"{path}: cannot be written; copy the file to where it can be")
        return outlast(lambda: upgrade_schema(engine, lease_timeout_s=lease_timeout_s), address, 0.0)
    finally:
        engine.dispose()


def _server_engine(url: URL) -> Engine:
    """PostgreSQL. A connection that a restart of the server has broken is noticed and replaced by ``outlast``."""
    wanted = {"connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVES}
    # What the address itself says comes first.
    return create_engine(url, connect_args={key: value for key, value in wanted.items() if key not in url.query})


def _sqlite_engine(url: URL) -> Engine:
    """SQLite where a transaction that writes takes the lock when it begins, so that it cannot fail halfway."""
    path = Path(str(url.database))
    if is_read_only(path):
        engine = create_engine(url, creator=_reader(path), execution_options={"reading": True})
    else:
        engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def is_read_only(path: Path) -> bool:
    """Whether a SQLite file is there and cannot be written: a read-only mount, or no right to."""
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _reader(path: Path) -> Callable[[], sqlite3.Connection]:
    """Opens a file that cannot be written, nor anything beside it, as SQLite otherwise asks for.

    Where a writer ended without folding its log into the file, a copy of both is read.
    """
    log = path.with_name(path.name + "-wal")
    if not (log.exists() and log.stat().st_size):
        address = f"file:{quote(str(path))}?mode=ro&immutable=1"
        return lambda: sqlite3.connect(address, uri=True, check_same_thread=False)
    copy = Path(tempfile.mkdtemp(prefix="plw-registry-"))
    for file in (path, log):
        shutil.copyfile(file, copy / file.name)

    def connect_copy() -> sqlite3.Connection:
        return sqlite3.connect(copy / path.name, check_same_thread=False)

    weakref.finalize(connect_copy, shutil.rmtree, copy)
    return connect_copy


def _has_version(tables: Inspector) -> bool:
    has_table = tables.has_table(meta.name)
    return has_table and any(column["name"] == "schema_version" for column in tables.get_columns(meta.name))


def _prepare(engine: Engine, where: str, create: bool) -> int:
    """Make the tables where there are none; the version of the schema that is there."""
    with engine.begin() as connection:
        lock_schema(connection)
        tables = inspect(connection)
        if not _has_version(tables):
            # Tables of another program that have the names of ours would be taken for ours.
            if any(tables.has_table(name) for name in metadata.tables):
                raise UserError(f"{where}: {FOREIGN}")
            if not create:
                raise UserError(f"{where}: no registry there; `plw run` makes one, `plw registry rebuild` restores one")
            metadata.create_all(connection)
            connection.execute(meta.insert().values(schema_version=SCHEMA_VERSION))
        return schema_version(connection, where)


def _migrate_own(engine: Engine, where: str, version: int) -> None:
    """Bring an older registry to this schema where that is one machine's file, of which a copy can be kept.

    Raises:
        UserError: it is a server's, which others use too, or cannot be written.
    """
    older = f"{where}: registry of schema version {version}, this plw works with {SCHEMA_VERSION}"
    path = sqlite_path(engine.url)
    if path is None:
        raise UserError(f"{older}; `plw registry migrate` brings it to that, once no worker of the older plw is left")
    if is_read_only(path):
        raise UserError(f"{older} and cannot write there; copy the file to where it can be written")
    upgrade_schema(engine)


def _switch_to_wal(path: Path) -> None:
    """Let readers go on while a process writes. The switch does not wait for other processes, so it is tried again."""
    deadline = time.monotonic() + BUSY_SECONDS
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        while True:
            try:
                if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                    connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
