"""Texts and JSON files read in one way everywhere; whoever gave the file is told what it lacks, and where."""

import json
from pathlib import Path
from typing import Any

from plw.errors import UserError
from plw.files.file_starts import check_start
from plw.files.json_text import (
    DECODER,
    DEEP,
    UNIQUE,
    WHITESPACE,
    JsonError,
    TwiceError,
    first_value,
    is_deep,
    json_value,
    value_of_any_depth,
)


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
            if not rows and "\n" in (value := first_value(text)).strip(WHITESPACE):
                many = "JSON values of several lines each; write one a line (jq -c . FILE)"
                of_lines = "one JSON value of several lines, not a list of rows" if value == text else many
                raise UserError(f"{path}: holds {of_lines}") from None
            raise UserError(f"{where} is not valid JSON ({error}, column {error.column})") from None
    return rows


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
