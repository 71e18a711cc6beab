"""The kinds of failure that a user meets, each told in one line, and how a line is kept short and printable."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Self

NAMES_SHOWN, NAME_LENGTH, REPLY_LENGTH, LINE_LENGTH = 20, 40, 120, 1500
"""Names, letters of a name, of a judge's reply and of a line that an error shows, whatever a file holds."""


class UserError(Exception):
    """A mistake in what was asked for: config, file, record or folder. The message is the line that is shown.

    The line names where (file, field, row), what was found and what is allowed. The command exits with 2.
    """


class DamagedError(UserError):
    """A file that we wrote ourselves is not whole any more. What it belongs to is a failed stage; other cells go on."""


class StageError(Exception):
    """A stage could not produce its result (a judge that answers garbage, a base model that learned nothing).

    The stage is retried up to its attempts, then recorded as failed; other cells go on. The command exits with 1.
    """


class CellsLeftError(Exception):
    """Cells were left for later, as asked: the study is drained, or its hours are used up. The command exits with 75,
    the code that sysexits.h has for "try again later".
    """


class PermanentError(StageError):
    """A failure that the same attempt would meet again: the stage is not retried within one run."""


class UnreadableError(PermanentError):
    """Too many of a judge's replies cannot be read. Asking the same judge again costs the same and says the same.

    Args:
        message: The line that is shown.
        replies: The words that cannot be read, none twice; those of a judge that is set right are asked for anew.
    """

    def __init__(self, message: str, replies: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.replies = frozenset(replies)

    @classmethod
    def quoting(cls, message: str, replies: Sequence[str]) -> Self:
        """With the first of the replies in the line, also its end, where most ratings stand."""
        quoted = f"; one of the replies: {both_ends(replies[0], REPLY_LENGTH)!r}" if replies else ""
        return cls(message + quoted, replies)


class StorageError(PermanentError):
    """The disk takes no more: it is full, out of inodes, over quota or read-only. The command ends, since no other cell
    could be written either; the same command continues later.
    """


class RegistryAwayError(PermanentError):
    """The registry's database did not answer for longer than it is waited for. The command ends; the same command
    continues later.
    """


class ClaimLostError(Exception):
    """Another worker has taken over the stage: stop now and write nothing."""


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters; a longer one ends at a word, with an ellipsis."""
    if len(text) <= most:
        return text
    cut = text[: most - 4]
    if not text[most - 4].isspace():
        # A first word that is too long by itself is cut.
        cut = cut.rpartition(" ")[0] or cut
    return f"{cut.rstrip()} ..."


def named(names: Iterable[object]) -> str:
    """Names that a file brought, for a line: of many the first, each at most ``NAME_LENGTH`` long; "none" of none."""
    words = [shortened(str(name), NAME_LENGTH) for name in names]
    more = [f"{len(words) - NAMES_SHOWN:,} more"] if len(words) > NAMES_SHOWN else []
    return ", ".join(words[:NAMES_SHOWN] + more) or "none"


def line_of_error(text: str) -> str:
    """An error's words as a line that a terminal can show; of a very long one the beginning and the end."""
    return both_ends(printable(text), LINE_LENGTH)


def both_ends(text: str, most: int) -> str:
    """A text of at most so many characters; of a longer one two thirds from the beginning, the rest from the end."""
    if len(text) <= most:
        return text
    end = text[-most // 3 :].lstrip()
    return f"{shortened(text, most - len(end) - 1)} {end}"


def printable(text: str) -> str:
    """A text on one line that a terminal can show: control characters, separators and half surrogates as escapes."""
    return "".join(
        ascii(letter)[1:-1] if unicodedata.category(letter)[0] == "C" or letter in "\u2028\u2029" else letter
        for letter in text
    )
