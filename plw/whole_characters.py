"""Texts of others made writable: half of a surrogate pair, as a cut JSON escape leaves it, has no place in a file."""


def whole_characters(text: str) -> str:
    """The text with U+FFFD in place of each half of a surrogate pair; two halves that belong together become one."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
