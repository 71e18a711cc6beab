"""The words of a command line, checked one by one before Hydra sees them, so that a mistake names its word."""

import dataclasses
import logging
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

from plw.config.cell import CellConfig
from plw.config.evaluation import PromptSetConfig, TaskConfig
from plw.config.kinds import kind_at
from plw.config.study import DatasetSize
from plw.errors import UserError, printable
from plw.paths import conf_folder

logger = logging.getLogger(__name__)

ENTRIES: dict[str, type[Any]] = {
    "suite.tasks": TaskConfig,
    "suite.prompts": PromptSetConfig,
    "execution.cost.datasets": DatasetSize,
}
"""Fields that hold entries by name -> the entries' type."""

OWN_SWEEPERS = ("adaptive", "grid")
GROUPS_IN_GROUPS = {"loss.factor": "loss/factor"}
"""A group inside another, as a field is named -> as Hydra names the group."""

NUMBER_WORDS = {float: "number", int: "whole number", bool: "true or false"}
"""The types of fields that a text cannot be given -> what they hold."""

_ADDED = re.compile(
    r"\+{1,2}(?P<rest>(?P<place>"
    + "|".join(map(re.escape, ENTRIES))
    + r")\.(?P<name>[^.=]+)(?:\.(?P<field>[^.=]+)[^=]*)?=.*)",
    re.DOTALL,
)


def quoted(text: str, mark: str = "'") -> str:
    """A text as Hydra's grammar of overrides takes any text: in quotes, whatever letters it holds."""
    # A backslash stands for itself except before a quote, and there each has to be doubled.
    escaped = re.sub(rf"(\\*)({mark}|$)", lambda match: match[1] * 2 + (f"\\{mark}" if match[2] else ""), text)
    return f"{mark}{escaped}{mark}"


def check_overrides(words: Sequence[str], *, sweep: bool) -> None:
    """Each word is an override that Hydra can read.

    Args:
        words: ``FIELD=VALUE``, ``GROUP=CHOICE`` and Hydra's other forms.
        sweep: whether several values of a field, with commas between, are a sweep over them.

    Raises:
        UserError: one is not; the line names the word and says how it is written.
    """
    parser = OverridesParser.create()
    for word in words:
        key, equals, value = word.partition("=")
        check_bytes(word)
        if not equals and not word.startswith("~"):
            raise UserError(f"{printable(word)} is neither FIELD=VALUE nor GROUP=CHOICE{_cut(words)}")
        try:
            override = parser.parse_override(word)
        except (HydraException, ValueError):
            if not re.fullmatch(r"[+~]*[\w.@:/-]+", key):
                spaced = f"; no white space stands round =: {key.strip()}={value.strip()}" if key != key.strip() else ""
                found = f"{printable(key)!r} before = is no field or group{printable(spaced)}"
                raise UserError(f"{printable(word)}: {found}") from None
            if (kind := kind_at(CellConfig, key.lstrip("+").split("."))) in NUMBER_WORDS:
                ends = "; no value stands behind its last comma" if value.endswith(",") else ""
                raise UserError(f"{printable(word)}: the value is no {NUMBER_WORDS[kind]}{ends}{_cut(words)}") from None
            raise UserError(
                f"{printable(word)}: the value holds letters that mean something to Hydra, such as = , ( [ {{ or a "
                f"quote; write it in quotes: {_in_quotes(key, value)}"
            ) from None
        if key in ("hydra.launcher", "hydra.sweeper"):
            raise UserError(
                f"{printable(word)}: a group is chosen with a slash: {key.replace('.', '/')}={printable(value)}"
            )
        chosen = override.value()
        if (_is_group(key) or re.match("hydra(/|$)", key)) and chosen is None and not word.startswith("~"):
            raise UserError(f"{printable(word)}: a group cannot be null; leave it out, or choose a file of it")
        if _is_group(key) and isinstance(chosen, int | float):
            raise UserError(
                f"{printable(word)}: {key} is a group; choose a file of it, or set a field: {key}.FIELD=VALUE"
            )
        _check_is_as_written(word, key.lstrip("+"), override, value)
        if not override.is_sweep_override():
            continue
        if re.match(r"\+*hydra\.", key):
            axis = re.sub(r"\+*hydra\.(sweeper\.params\.)?", "", key) if "params." in key else "FIELD"
            raise UserError(
                f"{printable(word)}: a field of Hydra's own has one value; an axis is given by its field alone: "
                f"{axis}={printable(value)}; one value that holds a comma in quotes: {_in_quotes(key, value)}"
            )
        if override.is_interval_sweep() and not _has_foreign_sweeper(words):
            raise UserError(
                f"{printable(word)}: an interval has no values to try; give them ({key}=0,0.1,1), or range(...)"
            )
        if not sweep:
            raise UserError(
                f"{printable(word)}: several values are a sweep, which is plw run -m; one value that holds a comma is "
                f"written in quotes: {_in_quotes(key, value)}; a list in brackets: {key}=[{printable(value)}]"
            )
        if _exists(value):
            raise UserError(
                f"{printable(word)}: the comma would make several values of one path; write it in quotes: "
                f"{_in_quotes(key, value)}"
            )


def tell_repeated(words: Sequence[str]) -> None:
    """Warn of a field or group that a command line gives twice: the last value holds, and the others do nothing."""
    last: dict[str, str] = {}
    for word in words:
        key, value = split_override(word)
        if key in last and last[key] != value and not word.startswith("~"):
            logger.warning(
                "%s is given twice: %s holds and %s does nothing; several values are an axis: %s",
                *map(printable, (key, value, last[key], f"{key}={last[key]},{value}")),
            )
        last[key] = value


def _cut(words: Sequence[str]) -> str:
    """What is said where white space has cut a word of the command line in two."""
    ends = any(word.startswith(("=", ",")) or word.endswith(("=", ",")) for word in words)
    return "; white space stands neither round = nor between the values of an axis (FIELD=0,0.1,1)" if ends else ""


def _check_is_as_written(word: str, field: str, override: Override, value: str) -> None:
    """A text that looks like a number or a truth value is not turned into another one: 007, 1e5, true.

    Raises:
        UserError: it would be; the line has the word as it is to be written.
    """
    if kind_at(CellConfig, field.split(".")) is not str:
        return
    chosen = override.value()
    values = chosen.list if isinstance(chosen, ChoiceSweep) else [chosen]
    written = value.split(",") if isinstance(chosen, ChoiceSweep) else [value]
    if len(values) != len(written):
        return
    for found, text in zip(values, written, strict=True):
        if isinstance(found, bool | int | float) and str(found) != text.strip():
            raise UserError(
                f"{printable(word)}: {printable(text)} would be read as {found}; write it in quotes: "
                f"{_in_quotes(field, text)}"
            )


def split_override(word: str) -> tuple[str, str]:
    """(field or group, value) of a word of the command line, whatever marks stand before it (``+``, ``++``, ``~``)."""
    key, _, value = word.partition("=")
    return key.lstrip("+~"), value


def with_group(word: str) -> str:
    """``loss.factor=dft`` as Hydra wants it, ``loss/factor=dft``; any other word as it is."""
    key, equals, value = word.partition("=")
    return f"{GROUPS_IN_GROUPS.get(key, key)}{equals}{value}"


def check_bytes(word: str) -> None:
    """Refuse a word whose bytes are no text: it would be part of an identity, of records and of pages.

    Raises:
        UserError: it holds bytes that are not UTF-8.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in word):
        raise UserError(f"{printable(word)} holds bytes that are not UTF-8; give file and folder another name")


def _has_foreign_sweeper(words: Sequence[str]) -> bool:
    """Whether a sweeper is chosen that may try values of its own; ours take theirs from the axes."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("hydra/sweeper=")]
    return any(name not in OWN_SWEEPERS for name in chosen)


def _is_group(key: str) -> bool:
    return "." not in key and "/" not in key and (conf_folder() / key).is_dir()


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # A sweep may be longer than any name.
        return False


def _in_quotes(key: str, value: str) -> str:
    """An override whose value is text, as a shell takes it."""
    return printable(shlex.quote(f"{key}={quoted(value, chr(34))}"))


def added_entries(words: Sequence[str]) -> tuple[list[str], dict[str, type[Any]]]:
    """The words, and the entries that they add field by field (``+suite.prompts.mine.protocol=pandalm``).

    Hydra would make such an entry as a plain mapping, which a typed field refuses. So the entries are to be put into
    the schema, with their fields open, and the words then set fields that are there.

    Returns:
        The words to hand to Hydra, and the new entries: their place -> their type.

    Raises:
        UserError: a field that such an entry does not have.
    """
    entries: dict[str, type[Any]] = {}
    rewritten = []
    for word in words:
        match = _ADDED.fullmatch(word)
        if match is None:
            rewritten.append(word)
            continue
        kind = ENTRIES[match["place"]]
        known = [item.name for item in dataclasses.fields(kind)]
        if match["field"] is not None and match["field"] not in known:
            raise UserError(f"{printable(word.lstrip('+'))}: no such field; allowed: {', '.join(known)}")
        entries[f"{match['place']}.{match['name']}"] = kind
        rewritten.append(f"++{match['rest']}")
    return rewritten, entries
