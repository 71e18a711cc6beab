"""Registry calls that outlast a database that is away or locked for a while; what else goes wrong there is one line."""

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from plw.errors import RegistryAwayError, UserError
from plw.files.storage import storage_error

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
DAMAGED_WORDS = ("malformed", "not a database", "file is encrypted")

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def outlast(work: Callable[[], Result], url: URL, wait_s: float) -> Result:
    """Do the work, again and again while the database is away or locked, with longer and longer pauses.

    Args:
        work: one transaction; done anew from its beginning, so it must hold when the one before was committed unseen.
        url: the database's address.
        wait_s: seconds to wait in all; 0 tries once.

    Raises:
        RegistryAwayError: the database is still away.
        StorageError: its disk is full or read-only.
        UserError: its file is damaged.
    """
    where = address_of(url)
    deadline, pause, told, fresh = time.monotonic() + wait_s, FIRST_PAUSE_S, False, False
    while True:
        try:
            result = work()
        except (DBAPIError, sqlite3.DatabaseError) as error:
            if not is_away(error):
                raise explained(error, url) from error
            if not fresh and isinstance(error, DBAPIError) and error.connection_invalidated:
                # A connection from before the server was started again; the pool makes new ones now.
                fresh = True
                continue
            reason = first_line(error)
            if time.monotonic() + pause > deadline:
                raise _away(where, reason) from error
            if not told:
                logger.warning("%s: the registry does not answer (%s); waiting up to %g s", where, reason, wait_s)
                told = True
            time.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_S)
        else:
            if told:
                logger.warning("%s: the registry answers again", where)
            return result


def is_away(error: DBAPIError | sqlite3.DatabaseError) -> bool:
    """Whether the same call may succeed later: a lock, a server that is stopped or starting, a broken connection."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return isinstance(cause, sqlite3.OperationalError) and ("locked" in str(cause) or "busy" in str(cause))
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost or (isinstance(error, OperationalError | InterfaceError) and storage_error(error, "") is None)


def _away(where: str, reason: str) -> RegistryAwayError:
    return RegistryAwayError(
        f"{where}: the registry does not answer ({reason}); the same command continues once it does"
    )


def first_line(error: BaseException) -> str:
    """What the database itself says, without the statement."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def address_of(url: URL) -> str:
    """The address without its password, for messages; a SQLite file's name as it is, as ``parse_url`` takes it."""
    path = sqlite_path(url)
    return f"{url.drivername}:///{path}" if path is not None else url.render_as_string(hide_password=True)


def sqlite_path(url: URL) -> Path | None:
    """The file of a SQLite address, None for another database."""
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def explained(error: DBAPIError | sqlite3.DatabaseError, url: URL) -> Exception:
    """The error as one of ours, where a database is away, a disk full or a file damaged; itself otherwise."""
    reason, where, path = first_line(error), address_of(url), sqlite_path(url)
    if any(word in reason for word in DAMAGED_WORDS):
        return UserError(
            f"{where}: the registry is damaged ({reason}); `plw registry rebuild` makes it again, and keeps the file"
        )
    if is_away(error):
        return _away(where, reason)
    # SQLite says no more than "disk I/O error" or "unable to open" where a disk is full, so the disk is asked.
    return storage_error(error, where, None if path is None else path.parent) or error
