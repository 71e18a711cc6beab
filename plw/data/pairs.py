"""Pairs of a chosen and a rejected answer to one prompt: read, written by the template, encoded, and checked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plw.config.preference import PAIR_FIELDS, REFUSE, PreferenceConfig
from plw.config.training import TemplateConfig
from plw.data.encoding import IS_COMPLETION_R, PROMPT, EncodedExample, encode
from plw.data.measure import UNCUT
from plw.data.records import ChatRecord, Record, objects, parse_rows
from plw.data.render import Renderer
from plw.data.row_fields import MISSING, find, list_of
from plw.data.sources import content_hash
from plw.data.wrapped import wrapped_rows_told
from plw.errors import UserError, named
from plw.files.json_text import kind_of
from plw.files.whole_characters import check_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TURN_FIELDS = {"chat": ("messages", "role", "content"), "sharegpt": ("conversations", "from", "value")}
"""Form of a chat -> its field, and a message's fields of speaker and words."""
SPEAKER = {"chat": "assistant", "sharegpt": "gpt"}

TRIED_PAIRS = 512
"""Pairs among which one that can be learned from is looked for first."""

RecordPair = tuple[Record, Record]
"""The prompt with its chosen and with its rejected answer."""


@dataclass(frozen=True, kw_only=True)
class PreparedPairs:
    """Pairs as the trainer takes them."""

    examples: list[EncodedExample]
    """Chosen and rejected of each pair in turn; what is learned from, the last answer alone, is COMPLETION."""
    pairs: int
    longest: int
    """Tokens of the longest example."""
    too_long: int
    """Pairs left out, because one of the two is longer than the maximum length."""
    equal: int
    """Pairs left out, because their answers are equal."""
    content: str
    """SHA-256 of the files that were read."""


def prepare_pairs(
    preference: PreferenceConfig,
    files: Sequence[Path],
    template: TemplateConfig,
    tokenizer: "PreTrainedTokenizerBase",
) -> PreparedPairs:
    """Read, write and encode the pairs; a pair that cannot be learned from is refused or left out, as the config says.

    Raises:
        UserError: a mistake in a file with its row, a pair that is refused, or no pair left.
    """
    return _prepared(load_pairs(preference, files), preference, files, template, tokenizer)


def check_pairs(
    preference: PreferenceConfig,
    files: Sequence[Path],
    template: TemplateConfig,
    tokenizer: "PreTrainedTokenizerBase",
) -> None:
    """Every row has its fields; where no pair may be left out none has to be, and where some may one is left.

    Raises:
        UserError: as :func:`prepare_pairs`.
    """
    pairs = load_pairs(preference, files)
    if preference.unusable != REFUSE and len(pairs) > TRIED_PAIRS:
        with suppress(UserError):
            _prepared(pairs[:TRIED_PAIRS], preference, files, template, tokenizer)
            return
    _prepared(pairs, preference, files, template, tokenizer)


def _prepared(
    pairs: Sequence[RecordPair],
    preference: PreferenceConfig,
    files: Sequence[Path],
    template: TemplateConfig,
    tokenizer: "PreTrainedTokenizerBase",
) -> PreparedPairs:
    encoded = [_encoded([pair[side] for pair in pairs], template, tokenizer) for side in range(len(PAIR_FIELDS))]
    examples: list[EncodedExample] = []
    too_long = equal = 0
    for chosen, rejected in zip(*encoded, strict=True):
        length = max(len(chosen.token_T), len(rejected.token_T))
        if length > preference.max_length:
            too_long += 1
            problem = f"{length} tokens are more than preference.max_length={preference.max_length}"
        elif np.array_equal(chosen.token_T, rejected.token_T):
            equal += 1
            problem = "chosen and rejected are equal"
        else:
            examples += [chosen, rejected]
            continue
        if preference.unusable == REFUSE:
            raise UserError(f"{chosen.where}: {problem}; preference.unusable=drop leaves such pairs out")
    if not examples:
        raise UserError(
            f"preference.path={preference.path}: no pair is left of {len(pairs)} ({too_long} longer than "
            f"preference.max_length={preference.max_length}, {equal} of equal answers)"
        )
    return PreparedPairs(
        examples=examples,
        pairs=len(examples) // len(PAIR_FIELDS),
        longest=max(len(example.token_T) for example in examples),
        too_long=too_long,
        equal=equal,
        content=content_hash(files),
    )


def load_pairs(preference: PreferenceConfig, files: Sequence[Path]) -> list[RecordPair]:
    """Every pair of the files, as far as ``preference.limit``.

    Raises:
        UserError: an unreadable or empty file, or a row without a prompt or one of the two answers, with an empty one,
            or with a weight.
    """
    with wrapped_rows_told(files[0]):
        rows = [row for file in files for row in objects(file)][: preference.limit]
        if not rows:
            raise UserError(f"{files[0]}: holds no pairs; give a file with at least one")
        chosen, rejected = (_records(rows, answer, preference) for answer in PAIR_FIELDS)
    for answer, records in zip(PAIR_FIELDS, (chosen, rejected), strict=True):
        for record in records:
            said = record.messages[-1].content if isinstance(record, ChatRecord) else record.output
            calls = isinstance(record, ChatRecord) and "tool_calls" in record.messages[-1].more
            if not said.strip() and not calls:
                raise UserError(f"{record.where}: the answer '{answer}' is empty; give both at least a word")
            _check_unweighted(record)
    return list(zip(chosen, rejected, strict=True))


def _check_unweighted(record: Record) -> None:
    """That no weight of the data would go without effect; 0 of earlier answers says what holds in any case."""
    if not isinstance(record, ChatRecord):
        return
    *earlier, last = record.messages
    if last.weight != 1 or any(message.spans or message.weight not in (0, 1) for message in (*earlier, last)):
        raise UserError(
            f"{record.where}: a message has a weight, which pairs do not take, since their answers are compared whole; "
            "leave it out"
        )


def _records(rows: Sequence[tuple[str, dict[str, Any]]], answer: str, preference: PreferenceConfig) -> list[Record]:
    """The prompts with one of the two answers."""
    columns = {name: place for name, place in preference.columns.items() if name not in PAIR_FIELDS}
    place = preference.columns.get(answer, answer)
    if preference.format == "alpaca":
        return parse_rows(rows, "alpaca", columns | {"output": place}, preference.group)
    records = parse_rows(_conversations(rows, place, preference), preference.format, columns, preference.group)
    for record in records:
        assert isinstance(record, ChatRecord)
        if record.messages[-1].role != "assistant":
            raise UserError(f"{record.where}: field '{place}' is a message of the {record.messages[-1].role}")
    return records


def _conversations(
    rows: Iterable[tuple[str, dict[str, Any]]], place: str, preference: PreferenceConfig
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows with the answer behind their messages."""
    field, *names = TURN_FIELDS[preference.format]
    turns_place = preference.columns.get(field, field)
    for where, row in rows:
        found = find(row, place)
        if found is MISSING:
            raise UserError(f"{where} has no field '{place}' (fields found: {named(row)})")
        turns = find(row, turns_place)
        if isinstance(turns, str):
            turns = list_of(turns, turns_place, where, " and ".join(names))
        if not isinstance(turns, list) or not turns:
            # Told in the words of records without pairs.
            yield where, row
            continue
        last = turns[-1].get(names[0]) if isinstance(turns[-1], dict) else None
        if last in SPEAKER.values():
            raise UserError(
                f"{where}: field '{turns_place}' ends with an answer, where '{place}' is to follow; leave it out"
            )
        yield where, {**row, turns_place: [*turns, _message(found, place, where, names, SPEAKER[preference.format])]}


def _message(found: Any, place: str, where: str, names: Sequence[str], speaker: str) -> Mapping[str, Any]:
    """An answer as a message: it is one, or the text of one."""
    if isinstance(found, str):
        check_text(found, f"{where}: field '{place}'")
        return dict(zip(names, (speaker, found), strict=True))
    if not isinstance(found, dict):
        last = f"; of a list of messages {place}[-1] is the last" if isinstance(found, list) else ""
        raise UserError(f"{where}: field '{place}' is {kind_of(found)}; it must be a message or text{last}")
    return found


def _encoded(
    records: Sequence[Record], template: TemplateConfig, tokenizer: "PreTrainedTokenizerBase"
) -> list[EncodedExample]:
    """Examples of which the last answer alone is the completion."""
    renderer = Renderer(template, tokenizer)
    encoded = encode(
        [renderer.segments(record) for record in records],
        tokenizer,
        max_length=UNCUT,
        end_of_sequence=template.end_of_sequence,
        eos_marker=template.eos_marker,
        where=[record.where for record in records],
    )
    return [_last_answer(example) for example in encoded.examples]


def _last_answer(example: EncodedExample) -> EncodedExample:
    prompt_T = np.flatnonzero(~IS_COMPLETION_R[example.role_T])
    start = int(prompt_T[-1]) + 1 if len(prompt_T) else 0
    if start == len(example.token_T):
        raise UserError(f"{example.where}: one of the two answers is empty; give both at least a word")
    role_T = example.role_T.copy()
    role_T[:start] = PROMPT
    return replace(example, role_T=role_T, weight_T=None)
