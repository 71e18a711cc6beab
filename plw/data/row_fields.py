"""The fields of a dataset's row, by their own names or by where the config says they are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plw.data.left_out import near_names
from plw.data.weights import weight_of
from plw.errors import UserError, named
from plw.files.json_text import kind_of
from plw.files.reading import parse_json
from plw.files.whole_characters import check_text

MISSING = object()
"""Nothing stands there; null is something."""


@dataclass(frozen=True, slots=True)
class DataRow:
    """An object of a file: where it stands, and the names that the fields have in it."""

    where: str
    values: Mapping[str, Any]
    names: Mapping[str, str]
    group: str

    def text(self, field: str) -> str:
        """The text of a field.

        Raises:
            UserError: it is not there, or it is no text.
        """
        return text_of(self.value(field), self.names[field], self.where)

    def value(self, field: str) -> Any:
        """Whatever stands at a field's place.

        Raises:
            UserError: nothing stands there.
        """
        name = self.names[field]
        value = find(self.values, name)
        if value is MISSING:
            forms = {"messages": "chat", "conversations": "sharegpt"}
            hints = [
                f"; chats are read with {self.group}.format={form}" for key, form in forms.items() if key in self.values
            ]
            near = [f"{found!a}; rename it, or give" for found, _ in near_names(self.values, [name])]
            how = f", but one named {near[0]}" if near else "; if it has another name:"
            elsewhere = f"{how} +{self.group}.columns.{field}=NAME" if name == field else ""
            hint = hints[0] if hints else elsewhere
            raise UserError(f"{self.where} has no field '{name}' (fields found: {named(self.values)}){hint}")
        return value

    def optional_text(self, field: str) -> str:
        """The text of a field that may be missing or null, which is no text.

        Raises:
            UserError: something else stands there.
        """
        value = find(self.values, self.names[field])
        return "" if value is MISSING or value is None else text_of(value, self.names[field], self.where)

    def is_given(self, field: str) -> bool:
        """Whether anything but null stands there."""
        return find(self.values, self.names[field]) not in (None, MISSING)

    def weight(self) -> float:
        """The record's weight, 1 where the data have none.

        Raises:
            UserError: the place that ``dataset.columns`` names holds nothing, or no finite number.
        """
        return weight_of(self.value("weight"), self.names["weight"], self.where) if "weight" in self.names else 1.0


def find(values: Mapping[str, Any], name: str) -> Any:
    """What stands at ``name``: a key, or a way such as ``chosen[1].content`` through objects and lists; or MISSING."""
    if name in values:
        return values[name]
    if "." not in name and "[" not in name:
        return MISSING
    value: Any = values
    for key, index in re.findall(r"([^.\[\]]+)|\[(-?\d+)\]", name):
        try:
            value = value[key] if isinstance(value, dict) else value[int(index)] if isinstance(value, list) else MISSING
        except (KeyError, IndexError, ValueError):
            return MISSING
    return value


def text_of(value: Any, name: str, where: str) -> str:
    """A field's value, which has to be a text that can be written.

    Raises:
        UserError: it is none; the line names file, row and field.
    """
    if not isinstance(value, str):
        raise UserError(f"{where}: field '{name}' is {kind_of(value)}; it must be text")
    check_text(value, f"{where}: field '{name}'")
    return value


def list_of(value: Any, name: str, where: str, items: str) -> list[Any]:
    """A field's list, or its JSON, as a table of text has it; empty where the field is null or blank.

    Args:
        value: from the file.
        name: the field's, for messages.
        where: file and row, for messages.
        items: what it is a list of, for messages.

    Raises:
        UserError: it is neither; the line names file, row and field.
    """
    if isinstance(value, str):
        value = parse_json(value, f"{where}: field '{name}'") if value.strip() else None
    if value is None:
        return []
    if not isinstance(value, list):
        raise UserError(f"{where}: field '{name}' is {kind_of(value)}; it must be a list of {items}")
    return value
