"""Files whose rows lie inside one object, as pandas and other programs write them: what is said of one."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plw.errors import NAME_LENGTH, UserError, shortened
from plw.files.json_text import DECODER, WHITESPACE, JsonError, json_value
from plw.files.reading import read_text

ROWS = "write one object a row (pandas: to_json(FILE, orient='records', lines=True))"
BY_NAME = ({"columns", "index", "data"}, {"schema", "data"})
"""What pandas' orients ``split`` and ``table`` consist of."""
OF_A_ROW = re.compile(r": (holds|row 1 has no|row 1: field '[^'\[]*' is)")
"""How a mistake begins that may be the whole file's; one in a message or in a list is its row's own."""
OF_A_MESSAGE = ("role", "from", "content", "type")
"""Keys of objects that are messages, parts or tools, and so no rows."""


@contextmanager
def wrapped_rows_told(path: Path) -> Iterator[None]:
    """A mistake in a file whose rows lie inside one object names that object: its rows would be sought elsewhere.

    Raises:
        UserError: what was raised inside, with these words in place of its remedy.
    """
    try:
        yield
    except UserError as error:
        # What the row lacks stays; how a row would be mended does not help here.
        reason = str(error).removeprefix(str(path)).partition("; ")[0]
        hint = _wrapped(path) if OF_A_ROW.match(reason) else ""
        if not hint:
            raise
        raise UserError(f"{path}{reason}; {hint}") from None


def _wrapped(path: Path) -> str:
    """How the rows of a JSON file lie in its one object; empty where they do not."""
    try:
        text = read_text(path)
        value = json_value(text, DECODER) if text.lstrip(WHITESPACE).startswith("{") else None
    except (UserError, JsonError):
        return ""
    if not isinstance(value, dict) or not value:
        return ""
    if set(value) in BY_NAME or _is_by_column(value):
        return f"the file is one table and no list of rows: {ROWS}"
    lists = [name for name, items in value.items() if _are_rows(items)]
    return f"rows lie in its field {shortened(lists[0], NAME_LENGTH)!r}: save that list alone" if lists else ""


def _is_by_column(value: Mapping[str, Any]) -> bool:
    """Whether an object holds columns, each a list or an object by row, or rows by their index."""
    columns = list(value.values())
    if all(isinstance(column, dict) for column in columns):
        names = {tuple(column) for column in columns}
        return len(names) == 1 and (len(columns) > 1 or "0" in {*value, *columns[0]})
    return all(isinstance(column, list) and not _are_rows(column) for column in columns) and (
        len(value) > 1 and len({len(column) for column in columns}) == 1
    )


def _are_rows(items: Any) -> bool:
    return (
        isinstance(items, list)
        and bool(items)
        and all(isinstance(item, dict) and not any(key in item for key in OF_A_MESSAGE) for item in items)
    )
