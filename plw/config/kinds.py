"""The types of the config's fields, found by their names."""

import dataclasses
import types
import typing
from collections.abc import Sequence
from typing import Any


def kind_at(kind: Any, place: Sequence[str]) -> Any:
    """The type of what stands at a place below a type, ``X`` for ``X | None``; None where that cannot be told."""
    for name in place:
        kind = inner_kind(kind, name)
    return kind


def inner_kind(kind: Any, name: str) -> Any:
    """The type of a dataclass's field, or of a mapping's entries; likewise."""
    if dataclasses.is_dataclass(kind):
        return one_kind(typing.get_type_hints(kind).get(name))
    return one_kind(typing.get_args(kind)[1]) if typing.get_origin(kind) is dict else None


def one_kind(kind: Any) -> Any:
    """``X`` of ``X | None``; None for a choice of several."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    kinds = [other for other in typing.get_args(kind) if other is not type(None)]
    return kinds[0] if len(kinds) == 1 else None
