"""Instruction records read from JSON and JSONL files; every mistake in a file is one line with file, row and field."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plw.errors import UserError

CHAT_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True, slots=True)
class AlpacaRecord:
    """One instruction, its input (empty where there is none) and the answer to learn."""

    instruction: str
    input: str = ""
    output: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatMessage:
    """One turn: ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRecord:
    """A conversation with at least one answer of the assistant."""

    messages: tuple[ChatMessage, ...]


Record = AlpacaRecord | ChatRecord


def load_records(path: Path, record_format: str) -> list[Record]:
    """Read every record of ``path``: a JSON list, or JSONL with one object a line.

    Args:
        path: a file that ends in .json or .jsonl.
        record_format: ``alpaca`` (instruction, optional input, output) or ``chat`` (messages of role and content).

    Raises:
        UserError: a missing, unreadable or empty file, malformed JSON, or a missing or mistyped field; the line
            names the file, the row (from 1) and the field.
    """
    parsers: dict[str, Callable[[Mapping[str, Any], str], Record]] = {"alpaca": _alpaca, "chat": _chat}
    if record_format not in parsers:
        raise UserError(f"dataset.format={record_format} is not known; allowed: {', '.join(sorted(parsers))}")
    records = [_object(row, where, parsers[record_format]) for where, row in _rows(path)]
    if not records:
        raise UserError(f"{path}: holds no records; give a file with at least one")
    return records


def load_alpaca(path: Path) -> list[AlpacaRecord]:
    """``load_records`` of the Alpaca form."""
    return [record for record in load_records(path, "alpaca") if isinstance(record, AlpacaRecord)]


def load_chat(path: Path) -> list[ChatRecord]:
    """``load_records`` of the chat form."""
    return [record for record in load_records(path, "chat") if isinstance(record, ChatRecord)]


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """The JSON values of a file, each with the words that say where it stands."""
    text = _read(path)
    if path.suffix == ".jsonl":
        return _lines(path, text)
    if path.suffix == ".json":
        return _array(path, text)
    raise UserError(f"{path}: unknown kind of file '{path.suffix}'; allowed: .json, .jsonl")


def _read(path: Path) -> str:
    if path.is_dir():
        raise UserError(f"{path}: is a folder; dataset.path must be a .json or .jsonl file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; set dataset.path to an existing .json or .jsonl file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    row = 0
    # JSON strings may hold U+2028 and its like unescaped, so only a newline ends a line.
    for line in text.split("\n"):
        if not line.strip():
            continue
        row += 1
        try:
            yield f"{path}: row {row}", json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: row {row} is not valid JSON ({error.msg}, column {error.colno})") from None


def _array(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{error.msg}, line {error.lineno} column {error.colno}"
        raise UserError(f"{path}: row {_broken_row(text)} is not valid JSON ({place})") from None
    if not isinstance(value, list):
        raise UserError(f"{path}: holds {_kind(value)}, not a list of records")
    for row, item in enumerate(value, start=1):
        yield f"{path}: row {row}", item


def _broken_row(text: str) -> int:
    """The number, from 1, of the first element of a JSON list that does not parse."""
    decoder = json.JSONDecoder()
    position = text.find("[") + 1
    row = 1
    while True:
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
        try:
            _, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            return row
        while position < len(text) and text[position] in " \t\r\n":
            position += 1
        if position >= len(text) or text[position] != ",":
            return row
        position += 1
        row += 1


def _object(value: Any, where: str, parse: Callable[[Mapping[str, Any], str], Record]) -> Record:
    if not isinstance(value, dict):
        raise UserError(f"{where} is {_kind(value)}, not an object")
    return parse(value, where)


def _alpaca(row: Mapping[str, Any], where: str) -> AlpacaRecord:
    return AlpacaRecord(
        instruction=_text(row, "instruction", where),
        input=_text(row, "input", where) if row.get("input") is not None else "",
        output=_text(row, "output", where),
    )


def _chat(row: Mapping[str, Any], where: str) -> ChatRecord:
    messages = row.get("messages")
    if "messages" not in row:
        raise UserError(f"{where} has no field 'messages' (fields found: {_fields(row)})")
    if not isinstance(messages, list) or not messages:
        found = "an empty list" if messages == [] else _kind(messages)
        raise UserError(f"{where}: field 'messages' is {found}; it must be a list of role and content")
    turns = []
    for index, message in enumerate(messages, start=1):
        place = f"{where}, message {index}"
        if not isinstance(message, dict):
            raise UserError(f"{place} is {_kind(message)}, not an object")
        role = _text(message, "role", place)
        if role not in CHAT_ROLES:
            raise UserError(f"{place}: field 'role' is '{role}'; allowed: {', '.join(CHAT_ROLES)}")
        turns.append(ChatMessage(role=role, content=_text(message, "content", place)))
    if all(turn.role != "assistant" for turn in turns):
        raise UserError(f"{where}: field 'messages' has no message of the assistant; there is nothing to learn")
    return ChatRecord(messages=tuple(turns))


def _text(row: Mapping[str, Any], field: str, where: str) -> str:
    if field not in row:
        raise UserError(f"{where} has no field '{field}' (fields found: {_fields(row)})")
    value = row[field]
    if not isinstance(value, str):
        raise UserError(f"{where}: field '{field}' is {_kind(value)}; it must be text")
    return value


def _fields(row: Mapping[str, Any]) -> str:
    return ", ".join(row) or "none"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"
