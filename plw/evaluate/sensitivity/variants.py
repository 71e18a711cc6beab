"""Wordings of one prompt that mean the same: slips of spelling, other words around it, another format.

The rules are ours; the paper's own wordings of its 5,000 prompts are not published. The same text always gets the same
wordings, whatever stands beside it.
"""

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from plw.config.evaluation import SensitivityConfig
from plw.data.prompts import load_prompts
from plw.data.rows import object_rows
from plw.errors import UserError, shortened
from plw.files.whole_characters import check_text

WORDING_KINDS = ("spelling", "rewording", "format")
WORD = re.compile(r"[^\W\d_]{4,}")
"""What may be misspelt: short words and numbers would mean something else."""
REWORDINGS = (
    "Please {lower}",
    "Could you help me with this? {text}",
    "{text} Thank you.",
    "I would like you to do the following. {text}",
    "Here is what I need: {lower}",
    "{text} Answer in your own words.",
)
FORMATS = (
    "{text}\n",
    "Task: {text}",
    "{upper}",
    '"{text}"',
    "- {text}",
    "{bare}",
)
SLIPS = ("swap", "drop", "double")
MAX_TRIES = 50


def make_variants(text: str, counts: dict[str, int]) -> list[str]:
    """The text itself, then so many wordings of each kind, no two the same.

    Args:
        text: An instruction.
        counts: Kind (one of ``WORDING_KINDS``) -> wordings.

    Returns:
        The wordings that there are: a text without words has fewer slips than asked for.
    """
    variants = [text]
    for kind in WORDING_KINDS:
        found = 0
        for attempt in range(MAX_TRIES):
            if found == counts.get(kind, 0):
                break
            made = MAKERS[kind](text, attempt)
            if made not in variants:
                variants.append(made)
                found += 1
    return variants


def load_wordings(path: Path, config: SensitivityConfig) -> list[tuple[list[str], str]]:
    """(wordings of an instruction, its input) of each prompt of a file, as many as the config asks for.

    Args:
        path: Rows of {instruction, input?}, whose wordings are made here, or of {variants: [TEXT, TEXT, ...]}.
        config: Kinds of wordings and how many.

    Raises:
        UserError: not such a file, or a prompt with one wording alone; the line names the file and the row.
    """
    rows = object_rows(path)[: config.limit]
    if "variants" in rows[0][1]:
        return [(_given_wordings(row.get("variants"), where), "") for where, row in rows]
    made = []
    for (where, _), prompt in zip(rows, load_prompts(path), strict=False):
        if prompt.system is not None:
            raise UserError(f"{where} has a system message, with which no wordings are asked; leave it out")
        texts = make_variants(prompt.instruction, config.counts)
        if len(texts) < 2:
            raise UserError(f"{where}: there is no other wording of {shortened(prompt.instruction, 60)!r}")
        made.append((texts, prompt.input))
    return made


def _given_wordings(texts: Any, where: str) -> list[str]:
    if not isinstance(texts, list) or len(texts) < 2 or not all(isinstance(text, str) and text for text in texts):
        raise UserError(f"{where} has no list of two or more texts in field variants")
    for text in texts:
        check_text(text, f"{where}: field 'variants'")
    if len(set(texts)) < len(texts):
        raise UserError(f"{where}: two texts in field variants are the same")
    return list(texts)


def _spelling(text: str, attempt: int) -> str:
    """One slip in a word of four letters or more, chosen by the text: two letters swapped, one left out or doubled."""
    words: Sequence[re.Match[str]] = list(WORD.finditer(text))
    if not words:
        return text
    dice = random.Random(hashlib.sha256(f"{attempt}/{text}".encode("utf-8", "surrogatepass")).digest())
    word = dice.choice(words)
    # The first letter stays: readers go by it.
    place = word.start() + dice.randrange(1, len(word.group()) - 1)
    here, following = text[place], text[place + 1]
    slip = {"swap": following + here, "drop": following, "double": here * 2 + following}[dice.choice(SLIPS)]
    return text[:place] + slip + text[place + 2 :]


def _rewording(text: str, attempt: int) -> str:
    return _filled(REWORDINGS, text, attempt)


def _format(text: str, attempt: int) -> str:
    return _filled(FORMATS, text, attempt)


def _filled(forms: Sequence[str], text: str, attempt: int) -> str:
    """One of the forms; the first is another for another text, so that no form stands for a kind."""
    first = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[0]
    parts = {
        "{text}": text,
        "{lower}": text[:1].lower() + text[1:],
        "{upper}": text.upper(),
        "{bare}": text.rstrip(".?! "),
    }
    form = forms[(first + attempt) % len(forms)]
    return re.sub(r"\{\w+\}", lambda match: parts[match.group()], form)


MAKERS: dict[str, Callable[[str, int], str]] = {"spelling": _spelling, "rewording": _rewording, "format": _format}
