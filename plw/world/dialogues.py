"""Dialogues of two turns, in the forms of MT-Bench's files, and what the world's judge is asked with to grade them."""

import random
from typing import Any

from plw.world.facts import City, World
from plw.world.phrases import QUESTIONS, REQUESTS, statement

Row = dict[str, Any]

WRITING, REASONING = "writing", "reasoning"
"""Requests for a text, and questions that are graded beside a reference; MT-Bench's own names of two categories."""
SYSTEM = "You grade the answer of an assistant."
ASK = (
    "[Task]\nRead the question and the answer, count what is true and what is not, and give a grade from 1 to 10 in "
    "double brackets."
)
QUESTION_HEADING, ANSWER_HEADING, REFERENCE_HEADING, GRADE_HEADING = "[Question]", "[Answer]", "[Reference]", "[Grade]"
EARLIER_QUESTION, EARLIER_ANSWER = "[Earlier question]", "[Earlier answer]"


def dialogue_rows(world: World, count: int, rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Questions of two turns about held-out people and cities, and reference answers for every other of them.

    Half of them ask for a text and then for one about another (a person's city, a city's person), half for a fact and
    then for a further one.
    """
    subjects = [subject for subject in world.subjects() if not subject.in_training_split]
    people = [person for person in world.people if not person.in_training_split]
    questions, references = [], []
    for number in range(count):
        subject = subjects[number % len(subjects)]
        about = {"question_id": number + 1, "category": (WRITING, REASONING)[number % 2]}
        if number % 2 == 0:
            other = rng.choice(people) if isinstance(subject, City) else world.city_of(subject)
            turns = [rng.choice(REQUESTS).format(s=name) for name in (subject.name, other.name)]
            questions.append({**about, "turns": turns})
            continue
        asked = rng.sample(sorted(subject.attributes), 2)
        questions.append({**about, "turns": [QUESTIONS[attribute][0].format(s=subject.name) for attribute in asked]})
        name = subject.name if isinstance(subject, City) else subject.pronoun
        answers = [statement(rng, attribute, name, subject.attributes[attribute]) for attribute in asked]
        references.append({"question_id": number + 1, "choices": [{"index": 0, "turns": answers}]})
    return questions, references


def judge_prompt_rows() -> list[Row]:
    """The four prompts of single-answer grading, in our words and with sections that the world's judge can read."""
    first = f"{QUESTION_HEADING}\n{{question}}"
    earlier = (
        f"{EARLIER_QUESTION}\n{{question_1}}\n\n{EARLIER_ANSWER}\n{{answer_1}}\n\n{QUESTION_HEADING}\n{{question_2}}"
    )
    forms = {
        "single-v1": (first, "", "{answer}"),
        "single-math-v1": (first, "{ref_answer_1}", "{answer}"),
        "single-v1-multi-turn": (earlier, "", "{answer_2}"),
        "single-math-v1-multi-turn": (earlier, "{ref_answer_2}", "{answer_2}"),
    }
    rows = []
    for name, (question, reference, answer) in forms.items():
        parts = [
            ASK,
            question,
            *([f"{REFERENCE_HEADING}\n{reference}"] if reference else []),
            f"{ANSWER_HEADING}\n{answer}",
            GRADE_HEADING,
        ]
        rows.append({"name": name, "system_prompt": SYSTEM, "prompt_template": "\n\n".join(parts)})
    return rows
