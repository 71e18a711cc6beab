"""Prompts of a long-generation benchmark, each with the reference answer that a judge compares with."""

from dataclasses import dataclass
from pathlib import Path

from plw.errors import UserError
from plw.files import read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptRecord:
    """One request and the answer to beat."""

    instruction: str
    input: str = ""
    reference: str


def load_prompts(path: Path) -> list[PromptRecord]:
    """Read a JSON list of {instruction, input?, output}, the form of AlpacaEval's reference outputs.

    Raises:
        UserError: not such a list; the line names the file, the row (from 1) and the field.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        found = "an empty list" if rows == [] else type(rows).__name__
        raise UserError(f"{path}: expected a JSON list of prompts, found {found}")
    return [_prompt(row, f"{path}: row {number}") for number, row in enumerate(rows, start=1)]


def _prompt(row: object, where: str) -> PromptRecord:
    if not isinstance(row, dict):
        raise UserError(f"{where} is a {type(row).__name__}, not a JSON object")
    values = {"input": "", **row}
    for field in ("instruction", "input", "output"):
        if not isinstance(values.get(field), str):
            raise UserError(f"{where} has no text in field {field}")
    return PromptRecord(instruction=values["instruction"], input=values["input"], reference=values["output"])
