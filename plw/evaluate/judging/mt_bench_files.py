"""MT-Bench's files in the forms of lm-sys/FastChat: questions of several turns, reference answers, judge prompts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plw.data.left_out import near_names
from plw.data.rows import object_rows
from plw.errors import UserError
from plw.evaluate.judging.escaping import escape
from plw.files.whole_characters import check_text

WITH_REFERENCE = ("math", "reasoning", "coding")
"""Categories whose answers are graded beside a reference."""
SINGLE_ANSWER, WITH_MATHS, FURTHER_TURN = "single-v1", "single-math-v1", "-multi-turn"
"""Names of the judge's prompts: of a first turn, of one with a reference; the ending of those for the second turn."""
OPENED_BY = ("#", "[", "<|")
"""How lines begin that open a section of these prompts."""
TURNS = 2
TURN_SCORES = tuple(f"turn_{number + 1}" for number in range(TURNS))
"""How the scores of the turns are called; those of categories stand beside them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What is asked, turn after turn, and what a good answer is where the file of references has one."""

    id: int
    category: str
    turns: tuple[str, ...]
    reference: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialogue:
    """A question with the model's answers."""

    category: str
    turns: tuple[str, ...]
    answers: tuple[str, ...]
    reference: tuple[str, ...] | None = None
    where: str = ""
    """Benchmark and row, for messages."""


def load_questions(path: Path, references: Path | None = None) -> list[Question]:
    """Questions of one or two turns.

    Args:
        path: Rows {question_id, category, turns}.
        references: Rows {question_id, choices: [{turns}]}; needed where a category is graded with a reference.

    Raises:
        UserError: not such a file, or a question that lacks its reference; the line names the file, row and field.
    """
    known = {} if references is None else _references(references)
    questions: dict[int, Question] = {}
    for where, row in object_rows(path):
        number, category = row.get("question_id"), row.get("category")
        if type(number) is not int or number in questions:
            raise UserError(f"{where} has no number of its own in field question_id")
        if not isinstance(category, str) or not category:
            raise UserError(f"{where} has no text in field category")
        check_text(category, f"{where}: field 'category'")
        for name, meant in near_names((category,), WITH_REFERENCE):
            raise UserError(
                f"{where}: field category is {name!a}, but only {meant!r} is graded beside a reference; write it so"
            )
        if category in TURN_SCORES:
            raise UserError(
                f"{where}: field category is {category!r}, which is how the score of a turn is called; allowed is any "
                f"other name than {' and '.join(TURN_SCORES)}"
            )
        if row.get("system"):
            raise UserError(f"{where}: field system is not asked by this protocol; put it into the first of turns")
        turns = _texts(row.get("turns"), where, "turns")
        if len(turns) > TURNS:
            raise UserError(f"{where} has {len(turns)} turns; allowed: 1 or {TURNS}")
        reference = known.get(number)
        if category in WITH_REFERENCE and (reference is None or len(reference) < len(turns)):
            given = f"{len(reference)} for its {len(turns)} turns" if reference else "none for it"
            place = "give the file of reference answers" if references is None else f"{references} has {given}"
            raise UserError(f"{where}: category {category} is graded beside a reference of each turn; {place}")
        questions[number] = Question(id=number, category=category, turns=turns, reference=reference)
    return list(questions.values())


def _references(path: Path) -> dict[int, tuple[str, ...]]:
    found: dict[int, tuple[str, ...]] = {}
    for where, row in object_rows(path):
        choices = row.get("choices")
        if type(row.get("question_id")) is not int or not isinstance(choices, list) or not choices:
            raise UserError(f"{where} has no question_id with choices")
        if row["question_id"] in found:
            raise UserError(f"{where}: question_id {row['question_id']} stands in an earlier row too; give it once")
        turns = choices[0].get("turns") if isinstance(choices[0], dict) else None
        found[row["question_id"]] = _texts(turns, where, "choices[0].turns")
    return found


def _texts(value: Any, where: str, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise UserError(f"{where} has no list of texts in field {field}")
    for text in value:
        check_text(text, f"{where}: field '{field}'")
    return tuple(value)


@dataclass(frozen=True, kw_only=True)
class GradingPrompts:
    """The judge's prompts: name -> (system message, template of the user's message)."""

    by_name: dict[str, tuple[str, str]]

    @classmethod
    def load(cls, path: Path) -> "GradingPrompts":
        """Read rows {name, system_prompt, prompt_template}; those of other names than the four are passed over.

        Raises:
            UserError: not such a file, or one of the four prompts is not there or does not show what is graded.
        """
        needed = [name + ending for name in (SINGLE_ANSWER, WITH_MATHS) for ending in ("", FURTHER_TURN)]
        found: dict[str, tuple[str, str]] = {}
        for where, row in object_rows(path):
            if row.get("name") not in needed:
                continue
            if row["name"] in found:
                raise UserError(f"{where}: the prompt {row['name']} stands in an earlier row too; give it once")
            for field in ("system_prompt", "prompt_template"):
                if not isinstance(row.get(field), str):
                    raise UserError(f"{where} has no text in field {field}")
            for slots in _needed_slots(row["name"]):
                if not any(f"{{{slot}}}" in row["prompt_template"] for slot in slots):
                    lack = f"prompt_template of {row['name']} has no {{{slots[0]}}}"
                    raise UserError(f"{where}: {lack}, so the judge would not see it")
            found[str(row["name"])] = (row["system_prompt"], row["prompt_template"])
        lacking = [name for name in needed if name not in found]
        if lacking:
            raise UserError(f"{path}: has no prompt named {lacking[0]}; needed: {', '.join(needed)}")
        return cls(by_name=found)

    def messages(self, dialogue: Dialogue, turn: int) -> list[dict[str, str]]:
        """System and user message that ask for the score of a turn (from 1).

        What stands in a section cannot pass for the beginning of another.
        """
        name = WITH_MATHS if dialogue.category in WITH_REFERENCE else SINGLE_ANSWER
        system, form = self.by_name[name + (FURTHER_TURN if turn > 1 else "")]
        fields = {"question": dialogue.turns[turn - 1], "answer": dialogue.answers[turn - 1]}
        fields |= _numbered("question", dialogue.turns) | _numbered("answer", dialogue.answers)
        fields |= _numbered("ref_answer", dialogue.reference or ())
        slots = {f"{{{slot}}}": escape(text, form, OPENED_BY) for slot, text in fields.items()}
        request = re.sub(r"\{\w+\}", lambda match: slots.get(match.group(), match.group()), form)
        return [{"role": "system", "content": system}, {"role": "user", "content": request}]


def _needed_slots(name: str) -> list[tuple[str, ...]]:
    """What a prompt has to show of the turn that it grades, each under one of its names."""
    turn = 2 if name.endswith(FURTHER_TURN) else 1
    needed: list[tuple[str, ...]] = [(f"{part}_{turn}", part) for part in ("question", "answer")]
    return [*needed, *([(f"ref_answer_{turn}",)] if name.startswith(WITH_MATHS) else [])]


def _numbered(name: str, texts: Sequence[str]) -> dict[str, str]:
    return {f"{name}_{number}": text for number, text in enumerate(texts, start=1)}
