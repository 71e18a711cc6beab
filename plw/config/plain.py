"""Schemas from JSON: what ``dataclasses.asdict`` took apart, put together again."""

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

Schema = TypeVar("Schema")


def from_plain(schema: type[Schema], plain: dict[str, Any]) -> Schema:
    """An object of a dataclass from its fields in JSON's types, nested dataclasses and paths included.

    Args:
        schema: a dataclass whose fields are plain, paths, dataclasses, tuples of one of these, or dicts from names to
            dataclasses; each may be None where its type allows that.
        plain: its fields as ``dataclasses.asdict`` gives them; those that are absent take their defaults.
    """
    hints = typing.get_type_hints(schema)
    return schema(**{name: _value(hints[name], value) for name, value in plain.items()})


def _value(kind: Any, value: Any) -> Any:
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    if typing.get_origin(kind) in (typing.Union, types.UnionType) and len(options) == 1:
        return None if value is None else _value(options[0], value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return from_plain(kind, value)
    if kind is Path:
        return Path(value)
    if typing.get_origin(kind) is tuple:
        return tuple(_value(options[0], item) for item in value)
    if isinstance(value, dict) and (arguments := typing.get_args(kind)):
        return {key: _value(arguments[1], item) for key, item in value.items()}
    return value
