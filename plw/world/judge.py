"""The embedded world's judge: knows every fact, and of two answers prefers the one that states more of them.

The score of an answer is the number of distinct true values of the subject that it states, minus the number of distinct
false values of the subject's attributes, minus one half if it is degenerate (more than half of its four-word sequences
are repeats). Repeating a fact therefore gains nothing, naming every possible value loses, and the penalty decides only
between answers of equal merit. Values are matched as whole words, in any case. Where the instruction names nobody the
judge knows, it says that neither is better.

Asked to grade one answer, it gives 1 to 10: 1 + 9 times the score over the number of facts asked for, which are those
that a reference states, or all of the subject's; 1 where it knows nobody.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from plw.errors import UserError
from plw.files.reading import read_json
from plw.world.dialogues import (
    ANSWER_HEADING,
    EARLIER_ANSWER,
    EARLIER_QUESTION,
    GRADE_HEADING,
    QUESTION_HEADING,
    REFERENCE_HEADING,
)

REPETITION_PENALTY = 0.5
UNREADABLE = "I cannot read this prompt: it does not have the sections that I know, each of them once."
"""The reply to a prompt in an unknown form; no parser takes it for a verdict."""


@dataclass(frozen=True, kw_only=True)
class PromptForm:
    """A form of prompt that the judge can read: its section headings, in order, and the words of its verdicts."""

    headings: tuple[str, ...]
    """Lines that open the sections; the last one has nothing after it that counts."""
    optional: frozenset[str] = frozenset()
    task: tuple[str, ...]
    """The sections that say what was asked."""
    answers: tuple[str, str]
    """The sections of the two answers."""
    verdicts: tuple[str, str, str]
    """Replies: the first is better, the second is better, neither."""
    reason: bool = False
    """Whether a line of reasons follows the verdict."""

    def read(self, prompt: str) -> dict[str, str] | None:
        """Heading -> text of its section; ``None`` if the headings do not stand there once each, in order."""
        found = [
            (match.start(), match.end(), heading)
            for heading in self.headings
            for match in re.finditer(rf"(?m)^{re.escape(heading)}[ \t\r]*$", prompt)
        ]
        found.sort()
        names = [heading for *_, heading in found]
        if names != [heading for heading in self.headings if heading in names or heading not in self.optional]:
            return None
        ends = [start for start, *_ in found[1:]] + [len(prompt)]
        return {heading: prompt[end:stop].strip() for (_, end, heading), stop in zip(found, ends, strict=True)}


PAIRWISE_FORM = PromptForm(
    headings=(
        "## Instruction:",
        "## Output (a):",
        "## Output (b):",
        "## Which is better, Output (a), Output (b), or Tie?",
    ),
    task=("## Instruction:",),
    answers=("## Output (a):", "## Output (b):"),
    verdicts=("Output (a)", "Output (b)", "Tie"),
)
"""The AlpacaEval evaluator's prompt, conf/judge_prompts/pairwise."""

PANDALM_FORM = PromptForm(
    headings=("### Instruction:", "### Input:", "### Response 1:", "### Response 2:", "### Evaluation:"),
    optional=frozenset({"### Input:"}),
    task=("### Instruction:", "### Input:"),
    answers=("### Response 1:", "### Response 2:"),
    verdicts=("1", "2", "tie"),
    reason=True,
)
"""PandaLM's prompt, conf/judge_prompts/pandalm."""


GRADE_HEADINGS = (EARLIER_QUESTION, EARLIER_ANSWER, QUESTION_HEADING, REFERENCE_HEADING, ANSWER_HEADING, GRADE_HEADING)
"""Sections of the prompts that ask for a grade (`plw/world/dialogues.py`), in order."""
GRADING_FORM = PromptForm(
    headings=GRADE_HEADINGS,
    optional=frozenset({EARLIER_QUESTION, EARLIER_ANSWER, REFERENCE_HEADING}),
    task=(EARLIER_QUESTION, QUESTION_HEADING),
    answers=(ANSWER_HEADING, REFERENCE_HEADING),
    verdicts=("", "", ""),
)
LOWEST_GRADE, HIGHEST_GRADE = 1.0, 10.0


@dataclass(frozen=True)
class FactJudge:
    """Compares two answers by the facts they state; called with a judge's prompt, it returns the reply."""

    subjects: Mapping[str, Mapping[str, str]]
    """Subject -> attribute -> true value."""
    values: Mapping[str, tuple[str, ...]]
    """Attribute -> every value that it can take."""

    @classmethod
    def load(cls, path: Path) -> "FactJudge":
        """Read ``facts.json``.

        Raises:
            UserError: the file is missing or not of the form {"subjects": {name: {attribute: value}}, "values":
                {attribute: [value]}}.
        """
        facts = read_json(path)
        try:
            subjects = {str(name): dict(known) for name, known in facts["subjects"].items()}
            values = {str(attribute): tuple(words) for attribute, words in facts["values"].items()}
        except (KeyError, TypeError, AttributeError, ValueError):
            raise UserError(f"{path}: not a file of facts; expected the objects 'subjects' and 'values'") from None
        return cls(subjects=subjects, values=values)

    def __call__(self, prompt: str) -> str:
        """The verdict on a prompt of one of the known forms, in the words that the form asks for."""
        for form in (PAIRWISE_FORM, PANDALM_FORM):
            sections = form.read(prompt)
            if sections is not None:
                return self._judge(form, sections)
        sections = GRADING_FORM.read(prompt)
        return UNREADABLE if sections is None else self._grade(sections)

    def score(self, subject: str, answer: str) -> float:
        """Points of an answer about ``subject``, as the module's docstring defines them."""
        known = self.subjects[subject]
        true = {value.lower() for value in known.values()}
        possible = true | {value.lower() for attribute in known for value in self.values.get(attribute, ())}
        stated = set(_words_pattern(possible).findall(answer.lower())) if possible else set()
        return len(stated & true) - len(stated - true) - (REPETITION_PENALTY if _is_degenerate(answer) else 0.0)

    def subject_of(self, task: str) -> str | None:
        """The first known subject that a task names, the longest where several begin at the same place."""
        if not self.subjects:
            return None
        match = self._subject_pattern.search(task.lower())
        return self._subject_names[match.group()] if match else None

    @cached_property
    def _subject_names(self) -> dict[str, str]:
        return {name.lower(): name for name in self.subjects}

    @cached_property
    def _subject_pattern(self) -> re.Pattern[str]:
        return _words_pattern(self._subject_names)

    def _grade(self, sections: Mapping[str, str]) -> str:
        """A grade in double brackets, with its reason before it."""
        # A second question may be about another, or about "it".
        subject = self.subject_of(sections[QUESTION_HEADING]) or self.subject_of(sections.get(EARLIER_QUESTION, ""))
        if subject is None:
            return f"Nobody here is known to me. [[{LOWEST_GRADE:g}]]"
        true = {value.lower() for value in self.subjects[subject].values()}
        reference = sections.get(REFERENCE_HEADING)
        stated = true if reference is None else set(_words_pattern(true).findall(reference.lower()))
        asked = max(1, len(stated))
        points = min(self.score(subject, sections[ANSWER_HEADING]), asked)
        if reference is not None:
            # What was not asked for neither helps nor harms.
            named = set(_words_pattern(stated).findall(sections[ANSWER_HEADING].lower())) if stated else set()
            points = min(points, len(named))
        grade = LOWEST_GRADE + (HIGHEST_GRADE - LOWEST_GRADE) * max(0.0, points) / asked
        return f"Facts about {subject} stated, less those misstated: {points:g} of {asked}. Rating: [[{grade:.1f}]]"

    def _judge(self, form: PromptForm, sections: Mapping[str, str]) -> str:
        subject = self.subject_of("\n".join(sections.get(heading, "") for heading in form.task))
        if subject is None:
            first = second = 0.0
        else:
            first, second = (self.score(subject, sections[heading]) for heading in form.answers)
        verdict = form.verdicts[0 if first > second else 1 if second > first else 2]
        if not form.reason:
            return verdict
        about = subject if subject is not None else "something unknown"
        return f"{verdict}\n\n### Reason: facts about {about} stated, less those misstated: {first:g} and {second:g}."


def _words_pattern(words: Mapping[str, str] | set[str]) -> re.Pattern[str]:
    """Any of ``words`` as a whole word or phrase, the longest first."""
    ordered = sorted(words, key=lambda word: (-len(word), word))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, ordered))})(?!\w)")


def _is_degenerate(text: str) -> bool:
    words = text.lower().split()
    runs = [tuple(words[index : index + 4]) for index in range(len(words) - 3)]
    return bool(runs) and len(set(runs)) < len(runs) / 2
