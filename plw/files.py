"""Files written whole or not at all, JSON read in one way everywhere, and hashes of contents."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from plw.errors import UserError
from plw.file_starts import check_start
from plw.json_text import (
    DECODER,
    DEEP,
    UNIQUE,
    WHITESPACE,
    JsonError,
    TwiceError,
    is_deep,
    is_json,
    json_value,
    value_of_any_depth,
)

TEMPORARY = ".tmp"
"""How the name of a file ends that is being written; it begins with a dot and the name that it will have."""


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece; a reader, or a crash at any moment, sees the old file or the new one whole.

    What stands there and is no file (``/dev/null``, ``/dev/stdout``, a pipe) is written to and stays what it is, and a
    link stays a link.
    """
    path = path.resolve()
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as device:
            yield device
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            # A disk that is full does not say of which file.
            error.filename = str(path)
        raise


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` whole or not at all, as ``open_atomic``."""
    with open_atomic(path) as file:
        file.write(data)


def write_text_atomic(path: Path, text: str) -> None:
    """``write_bytes_atomic`` of UTF-8 text."""
    write_bytes_atomic(path, text.encode())


def write_json_atomic(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON; NaN and infinity are refused (JSON has neither)."""
    write_text_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_jsonl_atomic(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line."""
    write_text_atomic(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        UserError: the file is missing, a folder, or no such text; the line names the file.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(unreadable(path, error)) from None
    check_start(path, data)
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        kind = "UTF-8" if encoding.startswith("utf-8") else encoding.upper()
        raise UserError(f"{path}: not {kind} text (byte {error.start}); save the file as UTF-8") from None


def unreadable(path: Path, error: OSError) -> str:
    """What is said of a file that cannot be opened."""
    if not isinstance(error, FileNotFoundError):
        return f"{path}: cannot be read ({error.strerror})"
    what = f"a link to {path.readlink()}, where no file is" if path.is_symlink() else "no such file"
    return f"{path}: {what}"


def read_json(path: Path) -> Any:
    """Parse a file that holds one JSON value.

    Raises:
        UserError: the file is missing or is not JSON; the line names the file and the place.
    """
    # A model's config may have a key twice, and other readers take it.
    return parse_json(read_text(path), path, unique=False)


def parse_json(text: str, path: Path | str, *, unique: bool = True) -> Any:
    """The JSON value that a text is, of a file or of a field that ``path`` names; raises as :func:`read_json`.

    ``unique``: an object that has a key twice is refused too.
    """
    try:
        return json_value(text, UNIQUE if unique else DECODER)
    except TwiceError as error:
        raise UserError(f"{path}: {error}") from None
    except JsonError as error:
        raise UserError(f"{path}: not valid JSON ({error}{error.place})") from None


def read_rows(path: Path) -> list[tuple[str, Any]]:
    """("<file>: row <number>", value) of each row of a JSON list or of a file with one JSON value a line.

    What the file holds decides which of the two it is, not the end of its name. Rows are counted from 1; lines that are
    blank are no rows. Only a line feed ends a line: JSON strings may hold other separators, such as U+2028, unescaped.

    Raises:
        UserError: the file is missing, or is neither; the line names the file and the row.
    """
    text = read_text(path)
    start = text.lstrip(WHITESPACE)
    if start.startswith("["):
        return _rows_of_list(path, text)
    rows: list[tuple[str, Any]] = []
    for line in text.split("\n"):
        if not line.strip(WHITESPACE):
            continue
        where = f"{path}: row {len(rows) + 1}"
        try:
            rows.append((where, json_value(line, UNIQUE)))
        except TwiceError as error:
            raise UserError(f"{where}: {error}") from None
        except JsonError as error:
            if not rows and is_json(text):
                raise UserError(f"{path}: holds one JSON value of several lines, not a list of rows") from None
            raise UserError(f"{where} is not valid JSON ({error}, column {error.column})") from None
    return rows


def kind_of(value: Any) -> str:
    """The type of a JSON value, or of one of a parquet table, in plain words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, Mapping) else f"of the type {type(value).__name__}"


def check_text(text: str, where: str) -> None:
    """Refuse a text that cannot be written: one with half of a surrogate pair, as a cut JSON escape leaves it.

    Args:
        text: A string of a file.
        where: File, row and field, for the message.

    Raises:
        UserError: it holds one; no tokenizer takes it.
    """
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise UserError(
            f"{where} holds half of a surrogate pair ({half} at character {error.start + 1}), which is no text: a "
            "character was cut in two; write the whole character or leave it out"
        ) from None


def check_texts(value: Any, where: str) -> None:
    """``check_text`` of every string in a JSON value; the line names the field that holds it."""
    if isinstance(value, str):
        check_text(value, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_texts(item, f"{where}: field '{key}'")
    elif isinstance(value, list):
        for item in value:
            check_texts(item, where)


def _rows_of_list(path: Path, text: str) -> list[tuple[str, Any]]:
    try:
        value = value_of_any_depth(text, UNIQUE)
    except TwiceError as error:
        raise UserError(f"{path}: row {_broken_row(text)}: {error}") from None
    except JsonError as error:
        raise UserError(f"{path}: row {_broken_row(text)} is not valid JSON ({error}{error.place})") from None
    rows = [(f"{path}: row {row}", item) for row, item in enumerate(value, start=1)]
    for where, item in rows:
        if is_deep(item):
            raise UserError(f"{where} is not valid JSON ({DEEP})")
    return rows


def _broken_row(text: str) -> int:
    """The number, from 1, of the first element of a JSON list that does not parse."""
    position = text.find("[") + 1
    row = 1
    while True:
        position = _next(text, position)
        try:
            _, position = UNIQUE.raw_decode(text, position)
        except (ValueError, RecursionError, JsonError):
            return row
        position = _next(text, position)
        if position >= len(text) or text[position] != ",":
            return row
        position += 1
        row += 1


def _next(text: str, position: int) -> int:
    """The first place from ``position`` on that is no whitespace."""
    while position < len(text) and text[position] in WHITESPACE:
        position += 1
    return position


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
