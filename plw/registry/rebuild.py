"""Makes the registry again from the records on disk: the old database stays whole until the new one is."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import func, select
from sqlalchemy.exc import DatabaseError, IntegrityError

from plw.errors import StorageError, UserError
from plw.files.sealed import read_sealed_json
from plw.paths import RECORD
from plw.progress import Progress, no_progress
from plw.registry.database import FOREIGN, parse_url
from plw.registry.outages import sqlite_path
from plw.registry.owner import LEASE_TIMEOUT_S
from plw.registry.rows import StageKey, StageRecord
from plw.registry.schema import cells, curves, meta, scores, stages
from plw.registry.statements import living_stages, put_record, refuse_living
from plw.registry.store import Registry

STAGE_FOLDERS = "*/*/*/*/*"
"""<study>-<scale>/<dataset>/<model>/<cell>/<stage> below the runs folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RebuildCounts:
    """What the new registry holds, and one line for each record that could not be read."""

    records: int
    cells: int
    scores: int
    curves: int
    damaged: tuple[str, ...]
    kept: Path | None = None
    """Where the file that was replaced lies now, if it was no registry that can be read."""


def rebuild(
    url: str, runs: Path, progress: Progress | None = None, *, lease_timeout_s: float = LEASE_TIMEOUT_S
) -> RebuildCounts:
    """Fill a fresh registry from every record below the runs folder and put it in the place of the old one.

    What only the database knew is not there any more: failed and running stages. A SQLite file is built beside the old
    one and renamed over it; on another database all happens in one transaction. So a crash leaves the old registry.
    A file that is no registry, or damaged beyond reading, is kept beside the new one.

    Args:
        url: SQLAlchemy address of the registry.
        runs: folder of the results.
        progress: told of every record.
        lease_timeout_s: seconds of silence after which a running stage counts as abandoned.

    Raises:
        UserError: no such runs folder, a process works with the registry, or what lies at its address is a folder or
            another program's database.
    """
    records, damaged = read_records(runs, progress or no_progress)
    address = parse_url(url)
    path = sqlite_path(address)
    is_registry = path is None or not path.exists() or _is_registry(path)
    _refuse_if_at_work(url, path, lease_timeout_s)
    if path is None:
        with Registry.open(url) as registry:
            return _fill(registry, records, damaged, clear=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.rebuild")
    try:
        with Registry.open(f"sqlite:///{fresh}") as registry:
            counts = _fill(registry, records, damaged, clear=False)
        _let_go(path)
        kept = None if is_registry else _put_aside(path)
        fresh.replace(path)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
    return replace(counts, kept=kept)


def _is_registry(path: Path) -> bool:
    """Whether a file holds a registry of any version; one that cannot be read as a database holds none.

    Raises:
        UserError: a folder, or a database of another program's tables.
    """
    if not path.is_file():
        raise UserError(f"{path}: is no file; give another registry.url, or move it away")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError:
        return False
    if tables and not tables >= {meta.name, cells.name}:
        raise UserError(f"{path}: {FOREIGN}")
    return True


def _put_aside(path: Path) -> Path:
    """Rename a file to the next free name beside it."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in count())
    free = next(name for name in names if not name.exists())
    return path.rename(free)


def record_paths(runs: Path) -> list[Path]:
    """Every record file below a runs folder.

    Raises:
        UserError: no such folder.
    """
    check_runs(runs)
    return sorted(runs.glob(f"{STAGE_FOLDERS}/{RECORD}"))


def check_runs(runs: Path) -> None:
    """Raises UserError where there is no such runs folder."""
    if not runs.is_dir():
        raise UserError(f"{runs}: no such folder; the records of a study stand in its runs folder")


def read_records(runs: Path, progress: Progress = no_progress) -> tuple[list[StageRecord], list[str]]:
    """Every readable record below a runs folder in the order of its path, and one line for each that is damaged."""
    paths = record_paths(runs)
    records: dict[StageKey, StageRecord] = {}
    damaged = []
    for number, path in enumerate(paths, start=1):
        try:
            record = StageRecord.parse(read_sealed_json(path), str(path))
            if record.key in records:
                raise UserError(f"{path}: a second record of {record.key}")
            records[record.key] = record
        except (UserError, OSError) as error:
            damaged.append(str(error))
        progress(number, len(paths), f"{len(damaged)} damaged" if damaged else "")
    return list(records.values()), damaged


def _fill(registry: Registry, records: list[StageRecord], damaged: list[str], *, clear: bool) -> RebuildCounts:
    """Put all records into the registry in one transaction; a record that contradicts an earlier one is damaged."""
    damaged = list(damaged)
    written = 0
    with registry.transaction() as connection:
        if clear:
            for table in (curves, scores, stages, cells):
                connection.execute(table.delete())
        for record in records:
            try:
                with connection.begin_nested():
                    put_record(connection, record)
                written += 1
            except IntegrityError:
                damaged.append(
                    f"{record.cell.folder}/{record.stage}: a score of it stands in another stage of the cell too"
                )
        in_cells, in_scores, in_curves = (
            int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in (cells, scores, curves)
        )
    return RebuildCounts(records=written, cells=in_cells, scores=in_scores, curves=in_curves, damaged=tuple(damaged))


def _refuse_if_at_work(url: str, path: Path | None, lease_timeout_s: float) -> None:
    """Look for living claims in the old registry; one that is missing, damaged or of another version has none."""
    try:
        with Registry.open(url, create=path is None) as registry, registry.transaction() as connection:
            alive = living_stages(connection, lease_timeout_s)
    except (UserError, StorageError, DatabaseError):
        return
    refuse_living(alive)


def _let_go(path: Path) -> None:
    """Fold the old SQLite file's log into it, so that no log of the old file is left for the new one.

    Raises:
        UserError: another process has the file open.
    """
    logs = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    if path.exists():
        try:
            connection = sqlite3.connect(path, timeout=2)
            try:
                connection.execute("PRAGMA journal_mode = DELETE").fetchone()
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise UserError(f"{path}: another process has the registry open; stop it first") from None
        except sqlite3.DatabaseError:
            pass  # Damaged beyond opening: there is nothing to save in its log.
    for log in logs:
        log.unlink(missing_ok=True)
