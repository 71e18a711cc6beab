"""The rows of JSON, JSONL and parquet files, each with the words that say where it stands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plw.errors import UserError

KINDS = (".json", ".jsonl", ".parquet")


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """("<file>: row <number from 1>", value) of each row: of a JSON list, of JSONL lines, or of a parquet table.

    Raises:
        UserError: a missing or unreadable file, one of another kind, or malformed JSON with its row.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder; dataset.path must be a .json, .jsonl or .parquet file")
    if not path.exists():
        raise UserError(f"{path}: no such file; set dataset.path to an existing .json, .jsonl or .parquet file")
    if path.suffix == ".parquet":
        return _table(path)
    if path.suffix == ".jsonl":
        return _lines(path, _read(path))
    if path.suffix == ".json":
        return _array(path, _read(path))
    raise UserError(f"{path}: unknown kind of file '{path.suffix}'; allowed: {', '.join(KINDS)}")


def kind_of(value: Any) -> str:
    """A JSON value's type in plain words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _table(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        row = 0
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for value in batch.to_pylist():
                    row += 1
                    yield f"{path}: row {row}", value
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: not a parquet file that can be read ({reason})") from None


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    row = 0
    # JSON strings may hold U+2028 and its like unescaped, so only a newline ends a line.
    for line in text.split("\n"):
        if not line.strip():
            continue
        row += 1
        try:
            yield f"{path}: row {row}", json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: row {row} is not valid JSON ({error.msg}, column {error.colno})") from None


def _array(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{error.msg}, line {error.lineno} column {error.colno}"
        raise UserError(f"{path}: row {_broken_row(text)} is not valid JSON ({place})") from None
    if not isinstance(value, list):
        raise UserError(f"{path}: holds {kind_of(value)}, not a list of records")
    for row, item in enumerate(value, start=1):
        yield f"{path}: row {row}", item


def _broken_row(text: str) -> int:
    """The number, from 1, of the first element of a JSON list that does not parse."""
    decoder = json.JSONDecoder()
    position = text.find("[") + 1
    row = 1
    while True:
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
        try:
            _, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            return row
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
        if position >= len(text) or text[position] != ",":
            return row
        position += 1
        row += 1
