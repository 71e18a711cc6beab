"""Instruction records read from files of rows; every mistake in a file is one line with file, row and field."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plw.config.training import FIELDS
from plw.data.left_out import (
    UNREAD_OF_A_MESSAGE,
    UNREAD_OF_A_ROW,
    check_other_names,
    check_read,
    near_names,
)
from plw.data.row_fields import MISSING, DataRow, find, list_of, text_of
from plw.data.rows import dataset_rows
from plw.data.weights import MESSAGE_WEIGHTS, SWITCHES, WeightSpan, message_weight, weight_spans
from plw.data.wrapped import wrapped_rows_told
from plw.errors import UserError, named
from plw.files.json_text import kind_of
from plw.files.whole_characters import check_text, check_texts

OPTIONAL = ("input", "system", "history")
"""Fields that a row of the Alpaca form may lack."""
BESIDE_MESSAGES = ("system", "tools")
"""Fields that a row of a chat may have beside its messages."""

MORE_OF_A_MESSAGE = ("tool_calls", "tool_call_id", "name", "reasoning_content", "thinking")
"""Fields of a message that only a tokenizer's chat template reads."""
CHAT_ROLES = {role: role for role in ("system", "user", "assistant", "tool")} | {"developer": "system"}
"""What OpenAI's data call a speaker -> the role."""
SHAREGPT_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "function_call": "assistant", "tool": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
"""What ShareGPT's data call a speaker -> the role."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlpacaRecord:
    """One instruction, its input (empty where there is none) and the answer to learn.

    LLaMA-Factory's rows may have what was said before: a system message, and turns whose answers are learned too.
    """

    instruction: str
    input: str = ""
    output: str
    system: str = ""
    """The system message that the conversation begins with; empty where there is none."""
    history: tuple[tuple[str, str], ...] = ()
    """Earlier turns: what the user said, and the answer."""
    weight: float = 1.0
    """What all of it counts in the loss, times the roles' weights."""
    spans: tuple[WeightSpan, ...] = ()
    where: str = field(default="", compare=False, repr=False)
    """File and row that it was read from (``data.json: row 3``), whatever was sampled or inverted since."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatMessage:
    """One turn: ``role`` is system, user, assistant or tool."""

    role: str
    content: str
    weight: float = 1.0
    """What it counts in the loss, times its role's weight."""
    spans: tuple[WeightSpan, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    """What a chat template may want beside: ``tool_calls``, ``name``, ``reasoning_content``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRecord:
    """A conversation with at least one answer of the assistant."""

    messages: tuple[ChatMessage, ...]
    weight: float = 1.0
    """What all of it counts in the loss, times the roles' weights."""
    tools: tuple[Any, ...] = ()
    """The tools that the assistant may call, as JSON schemas, for a chat template."""
    where: str = field(default="", compare=False, repr=False)
    """File and row that it was read from."""


Record = AlpacaRecord | ChatRecord


def load_records(
    files: Path | Sequence[Path], record_format: str, columns: Mapping[str, str] | None = None
) -> list[Record]:
    """Read every record of a file, or of several one after the other.

    Args:
        files: JSON lists, JSONL with one object a line, parquet or CSV tables, by the ends of their names.
        record_format: ``alpaca`` (instruction, output; optional input, system and history, a list of pairs of texts),
            ``chat`` (messages of role and content), ``sharegpt`` (conversations of from and value) or ``turns``
            (messages as texts alone, of user and assistant in turn). A message of a chat may have ``weight`` or
            ``loss_weight``, a number, or ``train``, true or false.
        columns: field -> where a row has it, such as ``context`` or ``chosen[1].content``; its own name if not given.

    Raises:
        UserError: a missing, unreadable or empty file, malformed JSON, or a missing or mistyped field; the line
            names the file, the row (from 1) and the field.
    """
    if record_format not in FIELDS:
        raise UserError(f"dataset.format={record_format} is not known; allowed: {', '.join(sorted(FIELDS))}")
    records: list[Record] = []
    for path in [files] if isinstance(files, Path) else files:
        before = len(records)
        with wrapped_rows_told(path):
            records += parse_rows(objects(path), record_format, columns)
        if len(records) == before:
            raise UserError(f"{path}: holds no records; give a file with at least one")
    return records


def parse_rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    record_format: str,
    columns: Mapping[str, str] | None = None,
    group: str = "dataset",
) -> list[Record]:
    """The records of objects, each with the words that say where it stands.

    Args:
        rows: (file and row, object).
        record_format: form of the rows, as :func:`load_records` takes it.
        columns: likewise.
        group: of the config, for messages.

    Raises:
        UserError: a missing or mistyped field, or a column of an optional field that no row has.
    """
    parsers: dict[str, Callable[[DataRow], Record]] = {
        "alpaca": _alpaca,
        "chat": _chat,
        "sharegpt": _sharegpt,
        "turns": _turns,
    }
    names = {field: field for field in FIELDS[record_format]} | dict(columns or {})
    made, first, unseen = [], None, [field for field in OPTIONAL if field in (columns or {})]
    parse, spelled = parsers[record_format], set()
    is_alpaca = record_format == "alpaca"
    optional = OPTIONAL if is_alpaca else BESIDE_MESSAGES
    remedy = f"give +{group}.columns.{{field}}={{name}}" if is_alpaca else "rename it"
    for row in (DataRow(where, values, names, group) for where, values in rows):
        made.append(parse(row))
        first = first or row
        if unseen:
            unseen = [field for field in unseen if find(row.values, names[field]) is MISSING]
        check_other_names(row.values, optional, row.where, names, remedy)
        check_read(row.values, {} if is_alpaca else UNREAD_OF_A_ROW, row.where)
        # Rows have the same few sets of fields, so each is looked at once.
        if (fields := tuple(row.values)) not in spelled:
            spelled.add(fields)
            _check_spelling(row, optional)
    if first is not None and unseen:
        # A row may lack the field, so nobody else would say that the name is wrong.
        raise UserError(
            f"{first.where} has no field '{names[unseen[0]]}' (fields found: {named(first.values)}), nor has any other "
            f"row; {group}.columns.{unseen[0]} names one that rows have"
        )
    return made


def objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file and row, object) of each row of a dataset's file.

    Raises:
        UserError: a file that cannot be read, or a row that is no object.
    """
    for where, value in dataset_rows(path):
        if not isinstance(value, dict):
            raise UserError(f"{where} is {kind_of(value)}, not an object")
        yield where, value


def _alpaca(row: DataRow) -> AlpacaRecord:
    texts = {
        "instruction": row.text("instruction"),
        "input": row.optional_text("input"),
        "output": row.text("output"),
    }
    system = row.optional_text("system")
    name = row.names.get("spans")
    spans = () if name is None else weight_spans(row.value("spans"), texts, name, row.where)
    return AlpacaRecord(
        **texts,
        system=system if system.strip() else "",
        history=tuple(_history(row)) if row.is_given("history") else (),
        weight=row.weight(),
        spans=spans,
        where=row.where,
    )


def _history(row: DataRow) -> Iterator[tuple[str, str]]:
    """Earlier turns, each a list of what the user said and the answer, as LLaMA-Factory's rows have them."""
    name = row.names["history"]
    of = "turns, each a list of two texts, what the user said and the answer"
    for number, turn in enumerate(list_of(row.value("history"), name, row.where, of)):
        if not isinstance(turn, list) or len(turn) != 2:
            found = f"a list of {len(turn)}" if isinstance(turn, list) else kind_of(turn)
            raise UserError(f"{row.where}: field '{name}[{number}]' is {found}; '{name}' must be a list of {of}")
        said, answer = (text_of(text, f"{name}[{number}][{place}]", row.where) for place, text in enumerate(turn))
        yield said, answer


def _check_spelling(row: DataRow, optional: Iterable[str]) -> None:
    """An optional field whose column is written another way would be left out of every prompt."""
    for name, meant in near_names(row.values, optional):
        if row.names.get(meant, meant) == meant:
            give = f'rename it, or give +{row.group}.columns.{meant}="{name}"' if meant in row.names else "rename it"
            raise UserError(f"{row.where} has no field '{meant}', but one named {name!a}; {give}")


def _chat(row: DataRow) -> ChatRecord:
    return _conversation(row, _with_system(row, list(_turns_of(row, "messages", "role", "content", CHAT_ROLES))))


def _sharegpt(row: DataRow) -> ChatRecord:
    turns = list(_turns_of(row, "conversations", "from", "value", SHAREGPT_ROLES))
    return _conversation(row, _with_system(row, turns))


def _with_system(row: DataRow, turns: list[ChatMessage]) -> list[ChatMessage]:
    """The turns after the system message that LLaMA-Factory's and Anthropic's rows have beside them."""
    system = row.values.get("system")
    if system is None or not text_of(system, "system", row.where).strip():
        return turns
    if turns[0].role != "system":
        return [ChatMessage(role="system", content=system), *turns]
    if turns[0].content != system:
        raise UserError(f"{row.where} has a field 'system' and a first message of the system; leave one of them out")
    return turns


def _turns_of(row: DataRow, field: str, speaker: str, words: str, roles: Mapping[str, str]) -> Iterator[ChatMessage]:
    for place, message in _messages(row, field, f"{speaker} and {words}"):
        if not isinstance(message, dict):
            raise UserError(f"{place} is {kind_of(message)}, not an object")
        more = _more_of(message, place)
        # Who calls tools need not say anything.
        said = message.get(words, "" if "tool_calls" in more else MISSING)
        for name, value in ((speaker, message.get(speaker, MISSING)), (words, said)):
            if value is MISSING:
                hint = _other_form(message, row, field, roles)
                raise UserError(f"{place} has no field '{name}' (fields found: {named(message)}){hint}")
        role = text_of(message[speaker], speaker, place)
        if role not in roles:
            raise UserError(f"{place}: field '{speaker}' is '{role}'; allowed: {', '.join(roles)}")
        said = "" if "tool_calls" in more and said is None else said
        content = _joined(said, words, place) if isinstance(said, list) else text_of(said, words, place)
        yield ChatMessage(
            role=roles[role],
            content=content,
            weight=message_weight(message, place),
            spans=weight_spans(message.get("spans"), {words: content}, "spans", place),
            more=more,
        )


def _other_form(message: Mapping[str, Any], row: DataRow, field: str, roles: Mapping[str, str]) -> str:
    """How messages of the other form are read."""
    if roles is SHAREGPT_ROLES and "role" in message:
        form, other = "chat", "messages"
    elif roles is CHAT_ROLES and "from" in message:
        form, other = "sharegpt", "conversations"
    else:
        return ""
    return f"; such messages are read with {row.group}.format={form} +{row.group}.columns.{other}={row.names[field]}"


def _more_of(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a message has beside its speaker and words, for a chat template.

    Raises:
        UserError: a field that is not read or nearly one that is, or a value of another type than templates take.
    """
    check_read(message, UNREAD_OF_A_MESSAGE, where)
    for name, meant in near_names(message, (*MORE_OF_A_MESSAGE, *MESSAGE_WEIGHTS, *SWITCHES, "spans")):
        raise UserError(f"{where} has no field '{meant}', but one named {name!a}; rename it")
    more = {name: message[name] for name in MORE_OF_A_MESSAGE if message.get(name)}
    check_texts(more, where)
    calls = list_of(more.pop("tool_calls", None), "tool_calls", where, "calls")
    for name, value in more.items():
        text_of(value, name, where)
    for number, call in enumerate(calls):
        if not isinstance(call, Mapping):
            raise UserError(f"{where}: field 'tool_calls[{number}]' is {kind_of(call)}; it must be an object")
    return {"tool_calls": calls, **more} if calls else more


def _joined(parts: Sequence[Any], name: str, where: str) -> str:
    """The words of a content in parts, as OpenAI's data may have it; parts of other kinds are nothing to learn here."""
    texts = []
    for number, part in enumerate(parts, start=1):
        kind = part.get("type") if isinstance(part, dict) else kind_of(part)
        if kind != "text" or "text" not in part:
            raise UserError(
                f"{where}: part {number} of field '{name}' is {kind!r}; it must be an object of type 'text' with a "
                "field 'text'"
            )
        texts.append(text_of(part["text"], f"{name}[{number - 1}].text", where))
    return "".join(texts)


def _turns(row: DataRow) -> ChatRecord:
    turns = []
    for number, (place, message) in enumerate(_messages(row, "messages", "texts")):
        if not isinstance(message, str):
            raise UserError(f"{place} is {kind_of(message)}; it must be text")
        check_text(message, place)
        turns.append(ChatMessage(role=("user", "assistant")[number % 2], content=message))
    return _conversation(row, turns)


def _messages(row: DataRow, field: str, of: str) -> Iterator[tuple[str, Any]]:
    found = row.value(field)
    messages = list_of(found, row.names[field], row.where, of)
    if not messages:
        kind = kind_of(found) if found is None else "an empty list"
        raise UserError(f"{row.where}: field '{row.names[field]}' is {kind}; it must be a list of {of}")
    for number, message in enumerate(messages, start=1):
        yield f"{row.where}, message {number}", message


def _conversation(row: DataRow, turns: Sequence[ChatMessage]) -> ChatRecord:
    answers = [turn for turn in turns if turn.role == "assistant"]
    name = row.names.get("messages") or row.names["conversations"]
    if not answers:
        raise UserError(f"{row.where}: field '{name}' has no message of the assistant; there is nothing to learn")
    if not any(answer.weight for answer in answers):
        raise UserError(f"{row.where}: all answers in field '{name}' have weight 0; leave the record out")
    return ChatRecord(messages=tuple(turns), weight=row.weight(), tools=_tools(row), where=row.where)


def _tools(row: DataRow) -> tuple[Any, ...]:
    """The tools of a conversation, a list or its JSON."""
    tools = list_of(row.values.get("tools"), "tools", row.where, "schemas")
    check_texts({"tools": tools}, row.where)
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise UserError(f"{row.where}: field 'tools[{number}]' is {kind_of(tool)}; it must be an object")
    return tuple(tools)
