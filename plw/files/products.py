"""The files that a piece of work leaves: their SHA-256 is noted by who made them and compared by who reads them.

What a user gives is identified by its content. What the project makes itself is known by the record of the work that
made it; without a comparison a changed file would give other numbers under the same name.
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from plw.errors import UserError
from plw.files.hashing import file_hash, hash_file

LARGE_BYTES = 64 * 1024 * 1024
"""A file of this size or more is taken as unchanged while its size and its time of change are those noted."""
AT_ONCE = 8
"""Files hashed at a time; hashing lets other threads run."""

Products = dict[str, dict[str, Any]]
"""Path inside the folder -> ``sha256``, ``size`` in bytes and ``mtime_ns``."""


def note_products(folder: Path, leave_out: Collection[Path] = ()) -> Products:
    """What lies in a folder at any depth, but for hidden files and those to leave out."""
    paths = [path for path in _files(folder) if path not in leave_out]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hashes = list(pool.map(file_hash, paths))
    return {
        path.relative_to(folder).as_posix(): {"sha256": found, "size": state.st_size, "mtime_ns": state.st_mtime_ns}
        for path, found, state in ((path, found, path.stat()) for path, found in zip(paths, hashes, strict=True))
    }


def check_products(
    folder: Path, noted: Products, *, made_by: str, inside: str = "", always: bool = False, exact: bool = True
) -> None:
    """Compare files with what was noted of them: once a process for each state of a file.

    Args:
        folder: what the noted paths start from.
        noted: from ``note_products``.
        made_by: the work that left the files, for the message.
        inside: a file, or a folder whose files are compared; all when empty.
        always: read every file again, whatever was read before and whatever its time of change.
        exact: files that were not noted count as changes too.

    Raises:
        UserError: a file is missing, is not what it was, or (``exact``) was added.
    """
    chosen = {name: about for name, about in noted.items() if _is_inside(name, inside)}
    there = {path.relative_to(folder).as_posix() for path in _files(folder / inside if inside else folder)}
    changed = sorted(chosen.keys() - there) + (sorted(there - chosen.keys()) if exact else [])
    if not changed:
        changed = [name for name, about in chosen.items() if not _is_same(folder / name, about, always)]
    if changed or not chosen:
        raise UserError(
            f"{folder / (changed or [inside])[0]} is not what {made_by} left; remove {folder} to make it again"
        )


def _is_same(path: Path, noted: dict[str, Any], always: bool) -> bool:
    state = path.stat()
    if state.st_size != noted["size"]:
        return False
    wanted: str = noted["sha256"]
    if always:
        return hash_file(path) == wanted
    if state.st_size >= LARGE_BYTES and state.st_mtime_ns == noted["mtime_ns"]:
        return True
    return file_hash(path) == wanted


def _is_inside(name: str, inside: str) -> bool:
    return not inside or name == inside or name.startswith(f"{inside}/")


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    parts = sorted(path for path in place.rglob("*") if path.is_file())
    return [path for path in parts if not any(part.startswith(".") for part in path.relative_to(place).parts)]
