"""Brings an older registry to this plw's schema, in place and in one transaction, by the revisions in ``migrations``.

The version that counts is the one in the table ``meta``; alembic's own table is set by it before each migration.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import DatabaseError

from plw.errors import UserError
from plw.files.storage import storage_error
from plw.registry.outages import address_of, first_line, is_away, sqlite_path
from plw.registry.owner import LEASE_TIMEOUT_S
from plw.registry.schema import SCHEMA_VERSION, meta
from plw.registry.statements import living_stages, refuse_living

_LOCK = 7_240_113_586
"""Number of the PostgreSQL advisory lock under which tables are made and changed."""
_ALEMBIC = threading.Lock()
"""Alembic's context is one for the whole process."""

logger = logging.getLogger(__name__)


def lock_schema(connection: Connection) -> None:
    """Let no other process make or change tables until this transaction ends; SQLite's has the lock already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def schema_version(connection: Connection, where: str) -> int:
    """The version of a registry's schema, this plw's or an older one.

    Raises:
        UserError: a newer one, or not one alone.
    """
    found = connection.execute(select(meta.c.schema_version)).scalars().all()
    if len(found) == 1 and 1 <= found[0] <= SCHEMA_VERSION:
        return int(found[0])
    version = found[0] if len(found) == 1 else "unknown"
    raise UserError(
        f"{where}: registry of schema version {version}, this plw reads {SCHEMA_VERSION} and older ones; use the plw "
        "that wrote it or a newer one, or move it away and run `plw registry rebuild`"
    )


def upgrade_schema(engine: Engine, *, lease_timeout_s: float = LEASE_TIMEOUT_S) -> tuple[int, Path | None]:
    """Bring a registry to this plw's schema, all or nothing. Of several processes that do this at once, one does.

    Args:
        engine: of the registry, which can be written.
        lease_timeout_s: seconds of silence after which a running stage counts as abandoned.

    Returns:
        The version that was found, and the copy of a SQLite file that was made beside it before it was changed.

    Raises:
        UserError: a newer schema, a worker that is at work by the older one, or tables that somebody else has changed.
    """
    where = address_of(engine.url)
    copy = None
    with _without_foreign_keys(engine) as connection, connection.begin():
        lock_schema(connection)
        found = schema_version(connection, where)
        if found == SCHEMA_VERSION:
            return found, None
        refuse_living(living_stages(connection, lease_timeout_s))
        path = sqlite_path(engine.url)
        if path is not None:
            copy = _copy_beside(path, f"schema-{found}")
        try:
            _upgrade(connection, found)
        except DatabaseError as error:
            if is_away(error) or storage_error(error, where) is not None:
                raise
            raise UserError(
                f"{where}: the registry cannot be brought from schema version {found} to {SCHEMA_VERSION} "
                f"({first_line(error)}); nothing was changed"
            ) from error
    kept = "" if copy is None else f"; a copy of the old one is {copy.name} beside it"
    logger.warning("%s: registry of schema version %d brought to version %d%s", where, found, SCHEMA_VERSION, kept)
    return found, copy


def _upgrade(connection: Connection, found: int) -> None:
    """Run the revisions after a version, and note the new one."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent / "migrations"
    # The config's own syntax has a meaning for a percent sign.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.stamp(config, str(found), purge=True)
        command.upgrade(config, str(SCHEMA_VERSION))
    connection.execute(meta.update().values(schema_version=SCHEMA_VERSION))
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        assert not broken, f"rows without what they name: {broken[:3]}"


@contextmanager
def _without_foreign_keys(engine: Engine) -> Iterator[Connection]:
    """A connection on which SQLite lets a table be made anew that rows of others name; it asks for that outside of a
    transaction.
    """
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            yield connection
            return
        driver.execute("PRAGMA foreign_keys = OFF")
        try:
            yield connection
        finally:
            driver.execute("PRAGMA foreign_keys = ON")


def _copy_beside(path: Path, ending: str) -> Path:
    """A whole copy of a SQLite file as it was last committed, under a name that nothing has yet."""
    names = [f"{path.name}.{ending}", *(f"{path.name}.{ending}.{number}" for number in range(2, 1000))]
    copy = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    half = copy.with_name(f".{copy.name}.tmp")
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(half)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE").fetchone()
        half.replace(copy)
    finally:
        half.unlink(missing_ok=True)
    return copy
