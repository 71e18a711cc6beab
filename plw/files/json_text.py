"""JSON texts read strictly: no NaN, no key twice in an object, no nesting beyond what can be walked through."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from plw.errors import NAME_LENGTH, shortened

FOUND_LENGTH = 20
"""Characters that an error shows of what stands where a text stops being JSON."""
MAX_DEPTH = 100
DEEP = f"lists and objects are nested too deeply, over {MAX_DEPTH} levels"
WHITESPACE = " \t\r\n"
"""What JSON allows between values."""


class JsonError(Exception):
    """A text that is not JSON, or not of a kind that is read: the reason, and where it stands if that is known."""

    place = ""
    """Line and column, for the end of the reason; empty where they are not known."""
    column = 1


class TwiceError(JsonError):
    """An object that has a key twice: of its two values a reader keeps the last, without a word."""


def json_value(text: str, decoder: json.JSONDecoder) -> Any:
    """The value of a JSON text.

    Raises:
        JsonError: it is none, or it is nested too deeply or holds a number of too many digits to be read.
    """
    value = value_of_any_depth(text, decoder)
    if is_deep(value):
        raise JsonError(DEEP)
    return value


def is_deep(value: Any) -> bool:
    """Whether lists and objects lie in each other beyond ``MAX_DEPTH``: what walks through them would not come back."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for children in inner for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def value_of_any_depth(text: str, decoder: json.JSONDecoder) -> Any:
    """As :func:`json_value`, for a list whose items are looked at one by one."""
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        failed = JsonError(f"{error.msg}, found {_found(text[error.pos : error.pos + 10 * FOUND_LENGTH])}")
        failed.place, failed.column = f", line {error.lineno} column {error.colno}", error.colno
    except RecursionError:
        failed = JsonError(DEEP)
    except ValueError:
        # Python refuses to read integers of thousands of digits, because that takes quadratic time.
        failed = JsonError(f"a number has more than {sys.get_int_max_str_digits()} digits")
    raise failed from None


def _found(rest: str) -> str:
    """The beginning of what stands there, printable: a mark, a zero byte or a web page shows what the file is."""
    line = rest.splitlines()[0] if rest.strip(WHITESPACE) else ""
    more = "…" if len(line) > FOUND_LENGTH else ""
    return ascii(line[:FOUND_LENGTH]) + more if line else "a line's end" if rest else "the end of the text"


def _no_number(name: str) -> Any:
    raise JsonError(f"{name} is no JSON value; write null for what is missing")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise TwiceError(f"the key {shortened(twice, NAME_LENGTH)!r} stands twice in one object; leave one out")
    return found


DECODER = json.JSONDecoder(parse_constant=_no_number)
UNIQUE = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_object)


def first_value(text: str) -> str:
    """The JSON value that a text begins with, as it stands there, and what is white space round it; empty of none."""
    start = len(text) - len(text.lstrip(WHITESPACE))
    try:
        end = DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError, JsonError):
        return ""
    rest = text[end:]
    return text[: len(text) - len(rest.lstrip(WHITESPACE))]


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
