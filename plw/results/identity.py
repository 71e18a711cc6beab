"""Canonical JSON of what defines a result, and its SHA-256: the fingerprint that names, finds and protects results."""

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

from plw.errors import shortened

ABSENT = object()
"""Stands for a field that one side does not have; equal to no value."""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, shortest float form.

    An integral float is written as the integer, so that ``1`` and ``1.0`` in a config are the same weight.

    Raises:
        TypeError: a type that JSON does not have, a key that is not a string, or a float that is not finite.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON, 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def field_diff(left: Any, right: Any) -> list[str]:
    """The fields in which two payloads differ, one line each: ``recipe.epochs: 3 -> 4``."""
    return list(_differences(_plain(left), _plain(right), ""))


def _plain(value: Any) -> Any:
    try:
        return _quickly(value)
    except TypeError:
        # Most values are of JSON's own types; a grid has thousands of payloads of hundreds of fields.
        return _located(value, "$")


def _quickly(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float and math.isfinite(value):
        return int(value) if value.is_integer() else value
    if kind is dict and all(type(key) is str for key in value):
        return {key: _quickly(item) for key, item in value.items()}
    if kind is list:
        return [_quickly(item) for item in value]
    raise TypeError


def _located(value: Any, where: str) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{where}: {value} has no place in an identity")
        return int(value) if value.is_integer() else value
    if isinstance(value, list | tuple):
        return [_located(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is not a string")
        return {key: _located(item, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(f"{where}: {type(value).__name__} has no place in an identity")


def _differences(left: Any, right: Any, where: str) -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from _differences(left.get(key, ABSENT), right.get(key, ABSENT), f"{where}.{key}" if where else key)
    elif ABSENT in (left, right) or canonical_json(left) != canonical_json(right):
        # The texts are compared and not the values, since False == 0.
        yield f"{where}: {_short(left)} -> {_short(right)}"


def _short(value: Any) -> str:
    if value is ABSENT:
        return "(absent)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shortened(text, 60)
