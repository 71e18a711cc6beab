"""Prompts of a long-generation benchmark, each with the reference answer that a judge compares with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plw.data.left_out import check_other_names, check_read, near_names
from plw.data.rows import is_text_table, object_rows
from plw.data.wrapped import wrapped_rows_told
from plw.errors import UserError, named, shortened
from plw.files.json_text import kind_of
from plw.files.whole_characters import check_text

PROMPT_FIELDS = ("instruction", "input", "system", "output")


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptRecord:
    """One request and the answer to beat, where the file has one."""

    instruction: str
    input: str = ""
    system: str | None = None
    """The system message before it, which may be the empty text; None where there is none."""
    reference: str | None

    @property
    def asked(self) -> str:
        """What a reader sees of the request beside its input: the system message and the instruction."""
        return f"{self.system}\n\n{self.instruction}" if self.system else self.instruction

    @property
    def identity(self) -> dict[str, str]:
        """The fields that are given, as answers are stored with them and items told apart."""
        given = {"instruction": self.instruction, "input": self.input}
        return given | ({} if self.system is None else {"system": self.system})


def load_prompts(path: Path) -> list[PromptRecord]:
    """Read rows of {instruction, input?, system?, output?}, the form of AlpacaEval's references and PandaLM's prompts.

    A table of text has no null: its empty fields are no system message and no answer.

    Raises:
        UserError: not such a file; the line names the file, the row (from 1) and the field.
    """
    with wrapped_rows_told(path):
        rows = object_rows(path)
        if is_text_table(path):
            given = ("instruction", "input")
            rows = [(where, {name: text for name, text in row.items() if text or name in given}) for where, row in rows]
        return [_prompt(row, where) for where, row in rows]


def _prompt(row: dict[str, Any], where: str) -> PromptRecord:
    values = {**dict.fromkeys(PROMPT_FIELDS), **row}
    # As in a dataset, null is no input.
    values["input"] = "" if row.get("input") is None else row["input"]
    for field in PROMPT_FIELDS:
        if not isinstance(values[field], str) and (field not in ("output", "system") or values[field] is not None):
            found = f"found {kind_of(values[field])}" if field in row else f"fields found: {named(row)}"
            raise UserError(f"{where} has no text in field {field} ({found})")
        check_text(values[field] or "", f"{where}: field '{field}'")
    check_read(row, {}, where)
    check_other_names(row, PROMPT_FIELDS, where, {}, "name it {field}")
    for name, field in near_names(row, PROMPT_FIELDS):
        raise UserError(f"{where} has no field '{field}', but one named {name!a}; rename it")
    return PromptRecord(
        instruction=values["instruction"],
        input=values["input"],
        system=values["system"],
        reference=values["output"],
    )


def reference_answers(prompts: Sequence[PromptRecord], path: Path, remedy: str) -> list[str]:
    """The answers to beat that the prompts' own file gives.

    Args:
        prompts: The prompts of ``path``.
        path: Their file, for the message.
        remedy: What to do where one has none, for the message.

    Raises:
        UserError: a prompt has none; the line names the row.
    """
    for number, prompt in enumerate(prompts, start=1):
        if prompt.reference is None:
            raise UserError(f"{path}: row {number} has no reference answer (output); {remedy}")
    return [prompt.reference for prompt in prompts if prompt.reference is not None]


def opponent_wanted(benchmark: str) -> str:
    """The remedy where a benchmark's prompts have no answers for a judge to compare with."""
    return f"give the answers to compare with: +judge.opponents.{benchmark}=FILE"


def load_answers(path: Path, prompts: Sequence[PromptRecord]) -> list[str]:
    """Another model's answers to the same prompts: a ``generate`` stage's file, or an AlpacaEval output file.

    The first answers count where the file has more than there are prompts.

    Args:
        path: JSON list of {instruction, input?, system?, output}; the instruction may hold the input after a blank
            line, and the system message before one.
        prompts: What was asked, in the same order.

    Raises:
        UserError: not such a list, too short, or an answer to another prompt; the line names the file and the row.
    """
    rows = load_prompts(path)
    if len(rows) < len(prompts):
        raise UserError(f"{path}: {len(rows)} answers for {len(prompts)} prompts")
    for number, (row, prompt) in enumerate(zip(rows, prompts, strict=False), start=1):
        asked = {f"{prompt.asked}\n\n{prompt.input}".strip(), f"{prompt.asked}\n{prompt.input}".strip()}
        if f"{row.asked}\n\n{row.input}".strip() not in asked:
            raise UserError(
                f"{path}: row {number} answers another prompt: {shortened(row.asked, 60)!r}, where "
                f"{shortened(prompt.asked, 60)!r} is asked"
            )
    return reference_answers(rows[: len(prompts)], path, "give a file in which every row has one")
