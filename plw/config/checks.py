"""Range checks for the schemas: each raises one clear line that names the field, the value and what is allowed."""

import dataclasses
import math
from collections.abc import Collection, Mapping
from numbers import Real
from typing import Any

from plw.errors import UserError, printable, shortened

LIMIT = 2**63
MAX_NAME_BYTES = 80
"""Of a name; folders and files put two or three of them together, and a file system takes 255 bytes."""
MAX_SEED = 2**32 - 1
"""The greatest seed that numpy, torch and random all take."""


def short_number(value: float) -> str:
    """A number in a few digits, also one that no float holds; a whole one as it is written."""
    if isinstance(value, int) and abs(value) < LIMIT:
        return str(value)
    try:
        return f"{value:g}"
    except OverflowError:
        return f"({value.bit_length()} bits)" if isinstance(value, int) else str(value)


def one_of(field: str, value: str, allowed: Collection[str]) -> None:
    """``value`` is one of a few words."""
    if value not in allowed:
        raise UserError(f"{field}={value} is not known; allowed: {', '.join(sorted(allowed))}")


def _number(field: str, value: float | None) -> None:
    """Hydra's configs have the right types already; what a program makes may have any."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
        raise UserError(f"{field}={shortened(repr(value), 40)} is no number")


def each_text(field: str, entries: Mapping[str, Any]) -> None:
    """Each entry of a mapping is a text; a file may have anything there.

    Raises:
        UserError: one is not; the line names it.
    """
    for name, value in entries.items():
        if not isinstance(value, str):
            raise UserError(f"{field}.{name}={shortened(str(value), 40)} is no text; give one")


def in_range(field: str, value: float | None, low: float, high: float) -> None:
    """``value`` lies in [low, high]; ``None`` (not set) passes."""
    _number(field, value)
    if value is not None and not low <= value <= high:
        allowed = f"{short_number(low)} to {short_number(high)}"
        raise UserError(f"{field}={short_number(value)} is out of range; allowed: {allowed}")


def at_least(field: str, value: float | None, low: float) -> None:
    """``value`` is ``low`` or more; ``None`` (not set) passes."""
    _number(field, value)
    if value is not None and not value >= low:
        raise UserError(f"{field}={short_number(value)} is too small; allowed: {short_number(low)} or more")


def above_zero(field: str, value: float | None) -> None:
    """``value`` is positive; ``None`` (not set) passes."""
    _number(field, value)
    if value is not None and not value > 0:
        raise UserError(f"{field}={short_number(value)} is not allowed; it must be above 0")


def check_numbers(config: Any, place: str = "") -> None:
    """Every number of a schema, at any depth, is finite and fits into 64 bits, as files, databases and arrays hold it.

    Raises:
        UserError: one does not; the line names the field.
    """
    if _fits(config):
        # The place is worked out for a number that does not: a grid has thousands of configs of hundreds of fields.
        return
    if isinstance(config, float) and not math.isfinite(config):
        raise UserError(f"{place}={config} is not allowed; give a finite number")
    if isinstance(config, int) and not -LIMIT <= config < LIMIT:
        raise UserError(f"{place}={short_number(config)} is out of range; allowed are whole numbers below 2^63")
    if dataclasses.is_dataclass(config):
        for item in dataclasses.fields(config):
            check_numbers(getattr(config, item.name), f"{place}.{item.name}" if place else item.name)
    elif isinstance(config, dict):
        for key, value in config.items():
            check_numbers(value, f"{place}.{key}")
    elif isinstance(config, list):
        for value in config:
            check_numbers(value, place)


def _fits(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-LIMIT <= value < LIMIT)
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return all(map(_fits, value.values()))
    if kind is list:
        return all(map(_fits, value))
    return dataclasses.is_dataclass(value) and all(map(_fits, vars(value).values()))


def names(field: str, value: str) -> None:
    """``value`` can name a file or folder, a column's value and an entry of a table.

    Raises:
        UserError: empty, too long, or with letters that one of these does not take.
    """
    if not value.translate(dict.fromkeys(map(ord, "-_."))).isalnum() or value.startswith("."):
        shown = printable(shortened(value, 60))
        raise UserError(f"{field}={shown} names a folder; allowed: letters, digits, '-', '_' and '.' inside")
    if len(value.encode()) > MAX_NAME_BYTES:
        raise UserError(f"{field}={shortened(value, 40)} has {len(value)} letters; allowed: at most {MAX_NAME_BYTES}")


def given(field: str, value: Any) -> None:
    """``value`` is not empty."""
    if value in (None, "", [], {}):
        raise UserError(f"{field} is empty; give it a value")
