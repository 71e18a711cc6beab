"""Files that are whole or absent: written under a temporary name, flushed, then renamed into place."""

import hashlib
import json
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from plw.errors import UserError


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` so that a reader, or a crash at any moment, sees the old file or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text_atomic(path: Path, text: str) -> None:
    """``write_bytes_atomic`` of UTF-8 text."""
    write_bytes_atomic(path, text.encode())


def write_json_atomic(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN and infinity are refused (JSON has neither)."""
    write_text_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl_atomic(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    write_text_atomic(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        UserError: the file is missing or is not JSON; the line names the file and the place.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Parse a file of one JSON object a line.

    Raises:
        UserError: the file is missing, or a line is not a JSON object; the line names the row, counted from 1.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error})") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: row {number} is not valid JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}: row {number} is a {type(row).__name__}, not a JSON object")
        rows.append(row)
    return rows


def folder_hash(folder: Path, patterns: tuple[str, ...] = ("*",)) -> str:
    """SHA-256 over names and contents of the files in a folder that match a pattern, in hex.

    Args:
        folder: its files are named by their path inside it.
        patterns: as ``Path.glob`` takes them: ``*.py`` is directly in the folder, ``**/*.py`` at any depth.
    """
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}:{_hash_once(path.absolute(), *_state(path))}\n".encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex; taken once a process for each state of the file."""
    return _hash_once(path.absolute(), *_state(path))


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)
def _hash_once(path: Path, size: int, modified_ns: int) -> str:  # noqa: ARG001 - the cache goes by all three
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
