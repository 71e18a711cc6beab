"""What no record names: folders of failed attempts, files left in finished ones, and rows without a record."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, delete, exists, not_, select

from plw.errors import UserError
from plw.files.sealed import read_sealed_json
from plw.files.writing import TEMPORARY
from plw.paths import FAILURE, PAYLOAD, RECORD
from plw.registry.claim import Claimed
from plw.registry.owner import LEASE_TIMEOUT_S, Owner
from plw.registry.rebuild import STAGE_FOLDERS, check_runs
from plw.registry.rows import CellRow, StageKey, StageRow
from plw.registry.schema import DONE, FAILED, cells, stages
from plw.registry.statements import (
    delete_results,
    living_stages,
    refuse_living,
    same_cell,
    same_key,
    same_stage,
)
from plw.registry.store import Registry

MOVED = ".moved"
"""How a hidden folder's name ends that a command was copying or removing when it was killed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Garbage:
    """Something to remove: a folder or file, a row of the registry, or a folder together with its row."""

    kind: str
    where: str
    path: Path | None = None
    bytes: int = 0
    row: StageRow | CellRow | None = None


def find_garbage(url: str, runs: Path, *, lease_timeout_s: float = LEASE_TIMEOUT_S) -> list[Garbage]:
    """All that no record names. An attempt that was cut off is none: the same command continues it.

    Rows are looked at where their study has a folder below ``runs``; elsewhere its records may lie in another place.

    Args:
        url: SQLAlchemy address of the registry.
        runs: folder of the results.
        lease_timeout_s: seconds of silence after which a running stage counts as abandoned.

    Raises:
        UserError: no such folder, no registry, or a worker is at work.
    """
    check_runs(runs)
    with Registry.open(url, create=False) as registry, registry.transaction() as connection:
        refuse_living(living_stages(connection, lease_timeout_s))
        folders = {
            tuple(row[:3]): runs / row[3] for row in connection.execute(select(*cells.primary_key, cells.c.folder))
        }
        rows = [StageRow(**row._mapping) for row in connection.execute(select(stages))]
        bare = [CellRow(**row._mapping) for row in connection.execute(select(cells).where(not_(_HAS_STAGE)))]
    row_of = {folders[row.study, row.scale, row.cell] / row.name: row for row in rows}
    found = list(_files(runs, row_of))
    for folder, row in row_of.items():
        lost = not (folder / RECORD).exists() if row.status == DONE else not folder.exists()
        if lost and _has_folder(row, runs):
            found.append(Garbage(kind=f"row of a {row.status} stage without a record", where=str(row.key), row=row))
    return found + [
        Garbage(kind="row of a cell without a stage", where=cell.folder, row=cell)
        for cell in bare
        if not (runs / cell.folder).exists() and _has_folder(cell, runs)
    ]


def remove_garbage(url: str, found: list[Garbage], *, lease_timeout_s: float = LEASE_TIMEOUT_S) -> list[Garbage]:
    """Remove what was found, but for what has changed since: a stage that a worker has taken again stays as it is.

    Returns:
        What is gone.
    """
    gone = []
    with Registry.open(url, create=False) as registry:
        for item in found:
            if isinstance(item.row, StageRow) and item.path is not None:
                removed = _remove_attempt(registry, item.row, item.path, lease_timeout_s)
            elif item.path is not None:
                removed = _remove(item.path)
            else:
                with registry.transaction() as connection:
                    removed = _remove_row(connection, item.row)
            if removed:
                gone.append(item)
    return gone


_HAS_STAGE = exists(select(stages.c.name).where(same_key(stages, cells)))


def _has_folder(row: StageRow | CellRow, runs: Path) -> bool:
    return (runs / f"{row.study}-{row.scale}").is_dir()


def _files(runs: Path, row_of: dict[Path, StageRow]) -> Iterator[Garbage]:
    for payload in sorted(runs.glob(f"{STAGE_FOLDERS}/{PAYLOAD}")):
        folder = payload.parent
        if (folder / RECORD).exists():
            for path in _left_over(folder):
                yield _on_disk("left in a finished stage", path, runs)
            continue
        row = row_of.get(folder)
        if row.status == FAILED if row is not None else (folder / FAILURE).exists():
            yield _on_disk("failed attempt", folder, runs, row)
    for path in sorted(runs.glob(f"*/*/*/*/.*{MOVED}")):
        yield _on_disk("half copied or removed", path, runs)


def _on_disk(kind: str, path: Path, runs: Path, row: StageRow | None = None) -> Garbage:
    parts = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    size = sum(part.lstat().st_size for part in parts if part.is_file() or part.is_symlink())
    return Garbage(kind=kind, where=path.relative_to(runs).as_posix(), path=path, bytes=size, row=row)


def _left_over(folder: Path) -> Iterator[Path]:
    """Files and folders of a finished stage that its record does not name; none where it names no files at all."""
    try:
        named = read_sealed_json(folder / RECORD)["products"].keys()
    except (UserError, KeyError, TypeError, AttributeError):
        return
    kept = {folder / name for name in (*named, PAYLOAD, RECORD)}
    yield from _unnamed(folder, kept, {parent for path in kept for parent in path.parents})


def _unnamed(folder: Path, kept: set[Path], above: set[Path]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path in above and path.is_dir() and not path.is_symlink():
            yield from _unnamed(path, kept, above)
        elif path not in kept and (not path.name.startswith(".") or path.name.endswith(TEMPORARY)):
            yield path


def _remove_attempt(registry: Registry, row: StageRow, folder: Path, lease_timeout_s: float) -> bool:
    """Hold the claim of a failed stage while its folder moves out of sight, so that no worker begins in it."""
    owner, key = Owner.here(), row.key
    answer = registry.claim(
        key, kind=row.kind, fingerprint=row.fingerprint, owner=owner, lease_timeout_s=lease_timeout_s
    )
    if not isinstance(answer, Claimed):
        return False
    hidden = _hide(folder)
    with registry.transaction() as connection:
        _delete_stage(connection, key, row.kind, stages.c.token == owner.token)
    return hidden is not None and _remove(hidden)


def _hide(folder: Path) -> Path | None:
    hidden = folder.with_name(f".{folder.name}.{os.getpid()}{MOVED}")
    try:
        return folder.rename(hidden)
    except FileNotFoundError:
        return None


def _remove(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
    return not path.exists()


def _remove_row(connection: Connection, row: StageRow | CellRow | None) -> bool:
    """Delete a row that is as it was found."""
    if isinstance(row, CellRow):
        return connection.execute(delete(cells).where(same_cell(cells, row), not_(_HAS_STAGE))).rowcount == 1
    if row is None:
        return False
    unchanged = (
        stages.c.status == row.status,
        stages.c.attempts == row.attempts,
        stages.c.token.is_not_distinct_from(row.token),
        stages.c.finished.is_not_distinct_from(row.finished),
    )
    return _delete_stage(connection, row.key, row.kind, *unchanged)


def _delete_stage(connection: Connection, key: StageKey, kind: str, *unchanged: ColumnElement[bool]) -> bool:
    """Delete a stage with its scores and curves, if it is as asked for."""
    held = select(stages.c.name).where(same_stage(key), *unchanged).with_for_update()
    if connection.execute(held).first() is None:
        return False
    delete_results(connection, key, kind)
    connection.execute(delete(stages).where(same_stage(key)))
    return True
