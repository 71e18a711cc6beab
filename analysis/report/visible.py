"""Text that any program can show: control characters, and halves of surrogate pairs, are made visible."""

from typing import Any

WHITE_SPACE = "\t\n"
"""Control characters that stay: they are white space."""

_C0 = {code: 0x2400 + code for code in range(0x20) if chr(code) not in WHITE_SPACE}
_UNSEEN = [0x7F, *range(0x80, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_VISIBLE = _C0 | dict.fromkeys([*_UNSEEN, *range(0xD800, 0xE000)], 0xFFFD)


def visible(value: Any) -> Any:
    """The value with every text in it, at any depth, made visible.

    A control character becomes its picture (U+2400 and on). Delete, those of Latin-1, marks that turn the direction of
    writing, and halves of surrogate pairs become U+FFFD. Line breaks and tabs stay.
    """
    if isinstance(value, str):
        # Most texts hold none of them, and a look is cheaper than a translation.
        return value if value.isprintable() else value.translate(_VISIBLE)
    if isinstance(value, dict):
        return {visible(key): visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [visible(item) for item in value]
    return value
