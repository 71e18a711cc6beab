"""Texts of others made writable: half of a surrogate pair, as a cut JSON escape leaves it, has no place in a file."""

from typing import Any

from plw.errors import UserError


def whole_characters(text: str) -> str:
    """The text with U+FFFD in place of each half of a surrogate pair; two halves that belong together become one."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def check_text(text: str, where: str) -> None:
    """Refuse a text that cannot be written: one with half of a surrogate pair, as a cut JSON escape leaves it.

    Args:
        text: A string of a file.
        where: File, row and field, for the message.

    Raises:
        UserError: it holds one; no tokenizer takes it.
    """
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise UserError(
            f"{where} holds half of a surrogate pair ({half} at character {error.start + 1}), which is no text: a "
            "character was cut in two; write the whole character or leave it out"
        ) from None


def check_texts(value: Any, where: str) -> None:
    """``check_text`` of every string in a JSON value; the line names the field that holds it."""
    if isinstance(value, str):
        check_text(value, where)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_texts(item, f"{where}: field '{key}'")
    elif isinstance(value, list):
        for item in value:
            check_texts(item, where)
