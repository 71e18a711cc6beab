"""Hashes of what files and folders hold."""

import hashlib
from functools import lru_cache
from pathlib import Path


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
    return hash_file(path)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex; read whatever was read before."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
