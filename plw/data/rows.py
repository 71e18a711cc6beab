"""The rows of datasets and benchmarks: JSON, parquet or CSV, each row with the words that say where it stands."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.errors import UserError
from plw.files.file_starts import check_no_pointer, check_start_of
from plw.files.json_text import kind_of
from plw.files.reading import read_rows, read_text, unreadable
from plw.files.whole_characters import check_texts
from plw.progress import count

if TYPE_CHECKING:
    from pyarrow import RecordBatch

DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""End of a table's name -> what stands between its fields, unless its first line says otherwise."""
OTHER_DELIMITERS = (",", ";", "\t")
"""Excel writes semicolons where a comma is the decimal mark."""
DELIMITER_LINE = re.compile(r'"?sep=([^\r\n"])"?(?:\r\n|\r|\n|$)')
"""A line of Excel's own before the columns' names."""
DELIMITER_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
KINDS = (".json", ".jsonl", ".parquet", *DELIMITERS)


def dataset_rows(path: Path) -> Iterable[tuple[str, Any]]:
    """The rows of a dataset's file, as :func:`file_rows`; the end of its name says which kind it is.

    Raises:
        UserError: a missing or unreadable file, one of another kind, or malformed JSON with its row.
    """
    if path.suffix.lower() not in KINDS:
        check_start_of(path)
        kind = f"unknown kind of file '{path.suffix}'" if path.suffix else "no end of its name says what it is"
        raise UserError(f"{path}: {kind}; allowed: {', '.join(KINDS)}")
    return file_rows(path)


def object_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a file of prompts or the like, as :func:`file_rows`, where each is an object.

    Raises:
        UserError: an unreadable file, a row that is no object, or a file that has none.
    """
    rows = list(file_rows(path))
    if not rows:
        raise UserError(f"{path}: holds no rows; give a file with at least one")
    for where, value in rows:
        if not isinstance(value, dict):
            raise UserError(f"{where} is {kind_of(value)}, not an object")
    return rows


def file_rows(path: Path) -> Iterable[tuple[str, Any]]:
    """("<file>: row <number from 1>", value) of each row: of a JSON list, of JSON lines, of a parquet or CSV table.

    Tables are known by the ends of their names; JSON may have any other. The first line of a CSV file names the columns
    and is no row; what stands between its names stands between all fields. All values are texts. Lines with nothing in
    any field are no rows.

    Raises:
        UserError: a missing or unreadable file, or malformed JSON with its row.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _table(path)
    if kind in DELIMITERS:
        return _separated(path, DELIMITERS[kind])
    return read_rows(path)


def is_text_table(path: Path) -> bool:
    """Whether all values of a file are texts, so that numbers, and what is not there, cannot be told from them."""
    return path.suffix.lower() in DELIMITERS


def _table(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        check_no_pointer(path)
    except OSError as error:
        raise UserError(unreadable(path, error)) from None
    try:
        row = 0
        with parquet.ParquetFile(path) as file:
            _check_names(file.schema_arrow.names, path)
            for batch in file.iter_batches(batch_size=4096):
                for value in _python_rows(batch, path, row):
                    row += 1
                    yield f"{path}: row {row}", value
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a parquet file that can be read ({reason})") from None
    except UnicodeDecodeError as error:
        place = f"row {row + 1} or one soon after it"
        raise UserError(f"{path}: {place} holds text that is not UTF-8 ({error.reason})") from None


def _python_rows(batch: "RecordBatch", path: Path, before: int) -> list[dict[str, Any]]:
    """The rows of a batch that stands behind so many.

    Raises:
        UserError: a column holds what Python has no value for, such as a date beyond the year 9999.
    """
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError:
        raise
    except (ValueError, OverflowError, KeyError) as error:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            for row, value in enumerate(column, start=before + 1):
                try:
                    value.as_py()
                except (ValueError, OverflowError, KeyError):
                    raise UserError(
                        f"{path}: row {row}: field '{name}' is a value of the type {value.type} that cannot be read "
                        f"({' '.join(str(error).split())}); leave the column out or make it text"
                    ) from None
        raise
    return rows


def _separated(path: Path, usual: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a text table as RFC 4180 has it: a quoted field may hold delimiters and line breaks."""
    text = read_text(path)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    said = DELIMITER_LINE.match(text)
    text = text if said is None else text[said.end() :]
    delimiter = _delimiter(text, usual) if said is None else said[1]
    lines = (values for values in _fields(text, delimiter) if any(map(str.strip, values)))
    row = 0
    try:
        header = next(lines, [])
        _check_header(header, path)
        for values in lines:
            row += 1
            if len(values) != len(header):
                raise UserError(
                    f"{path}: row {row} has {count(len(values), 'field')} where the first line names {len(header)}; "
                    f"put a field that holds {DELIMITER_NAMES.get(delimiter, repr(delimiter))} or line breaks in "
                    "quotation marks"
                )
            yield f"{path}: row {row}", dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path}: row {row + 1} cannot be read as {path.suffix[1:].upper()} ({error}); a field that holds "
            "quotation marks stands in quotation marks, and each of its own is doubled"
        ) from None


def _fields(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _delimiter(text: str, usual: str) -> str:
    """The usual one, unless another alone makes several names of the first line."""
    for delimiter in (usual, *OTHER_DELIMITERS):
        try:
            header = next((values for values in _fields(text, delimiter) if any(map(str.strip, values))), [])
        except csv.Error:
            continue
        if len(header) > 1:
            return delimiter
    return usual


def _check_header(header: list[str], path: Path) -> None:
    """The columns' names tell them apart; one without a name, as tables with an index have, is nobody's field."""
    _check_names(header, path)
    spaced = [name for name in header if name != name.strip()]
    if spaced:
        raise UserError(
            f"{path}: the first line names a column {spaced[0]!r}, with white space at an end; take it out there"
        )


def _check_names(names: Sequence[str], path: Path) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: two columns are named {twice[0]!r}; give each a name of its own")


def task_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a benchmark's local file, a JSON list, JSON lines or a parquet table.

    Raises:
        UserError: no such file, a CSV table, or one with a row that is no object or holds text that cannot be written.
    """
    if is_text_table(path):
        raise UserError(
            f"{path}: all values of a {path.suffix} file are texts, and a benchmark's labels are numbers; give it as "
            "JSON or parquet"
        )
    rows = object_rows(path)
    for where, row in rows:
        check_texts(row, where)
    return [row for _, row in rows]
