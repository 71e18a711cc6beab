"""Numbers and texts as JSON values for the inside of a page; missing is None, never 0."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

_ESCAPED = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def script_json(value: Any) -> str:
    """JSON for the inside of a script element: nothing in it can end the element, open a comment or break a line."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def json_numbers(values: Sequence[float] | Any, digits: int = 6) -> list[float | None]:
    return [json_number(value, digits) for value in values]


def json_number(value: Any, digits: int = 6) -> float | int | None:
    """A whole number as it is, any other to so many significant digits; None for what is missing or infinite."""
    if value is None or pd.isna(value) or not math.isfinite(value):
        return None
    short = float(value) if float(value).is_integer() else float(f"{float(value):.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
