"""Fields that would be left out of training without a word: of other trainers, and names that are nearly ours."""

import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from plw.errors import UserError

UNREAD_OF_A_MESSAGE = {
    "function_call": "write it as tool_calls",
    "reasoning": "name it reasoning_content",
    "refusal": "write its words into the content",
    "train_detail": "write it as spans",
    "training_detail": "write it as spans",
}
"""Field of a message that others read, and how it is written here."""
UNREAD_OF_A_ROW = {"functions": "write them as tools"}
"""The same of a chat."""
OTHER_NAMES = {"context": "input", "system_prompt": "system", "system_message": "system"}
"""What other data call a field that a prompt is made of."""
MEDIA = ("image", "images", "video", "videos", "audio", "audios")
"""What LLaVA's, LLaMA-Factory's and TRL's rows have beside a text that speaks of it."""


def check_read(values: Mapping[str, Any], unread: Mapping[str, str], where: str) -> None:
    """Refuse a row or a message that holds what is not read; null, false and what is empty hold nothing.

    Args:
        values: the row or message.
        unread: field -> how it is written here.
        where: file and row, for the message.

    Raises:
        UserError: one of the fields holds something, or there are pictures, sounds or films beside the text.
    """
    for name, remedy in unread.items():
        if values.get(name):
            raise UserError(f"{where} has {name}, which is not read; {remedy}")
    for name in MEDIA:
        if values.get(name):
            raise UserError(
                f"{where} has {name}, which a model of text alone does not get; leave the row out, or the field if the "
                "text does not need it"
            )


def check_other_names(
    values: Mapping[str, Any], fields: Iterable[str], where: str, names: Mapping[str, str], remedy: str
) -> None:
    """Refuse a row whose prompt would lack a text because its field has another name.

    Args:
        values: the row.
        fields: those that may be missing.
        where: file and row, for the message.
        names: field -> where a row has it.
        remedy: how a field ``{field}`` named ``{name}`` is given.

    Raises:
        UserError: such a field holds something where the row has nothing under its own name.
    """
    known = tuple(fields)
    for name, field in OTHER_NAMES.items():
        is_named = name in names.values() or names.get(field, field) != field
        if field in known and not is_named and values.get(name) and not values.get(field):
            how = remedy.format(field=field, name=name)
            raise UserError(f"{where} has {name}, but no {field}; {how}, or remove it")


def near_names(given: Iterable[str], known: Iterable[str]) -> list[tuple[str, str]]:
    """(name, the field that it is nearly) of names that differ from a field's in capitals, white space, letters of
    full width or letters that are not seen, where the field itself is not among them.
    """
    names, fields = tuple(given), tuple(known)
    return [
        (name, field) for name in names if (field := _plain(name)) != name and field in fields and field not in names
    ]


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKC", seen).strip().casefold()
