"""Documents of the three benchmarks that are answered freely and scored by rule: knowledge, two hops, instructions.

They mirror MMLU and BBH asked without examples and scored by flexible matching, and IFEval, whose instructions a
program checks. Only people, cities and tools that the instruction sets never speak of are asked about.
"""

import random
from typing import Any

from plw.world.facts import CITY_VALUES, PERSON_VALUES, Person, World
from plw.world.phrases import QUESTIONS, REQUESTS, TWO_HOP_QUESTIONS

ANSWER_CHOICES = 4
AT_LEAST_WORDS, AT_MOST_WORDS, SENTENCES = (10, 16, 22, 30), (6, 9, 14), (1, 2, 3, 5)


def mmlu(world: World, count: int, rng: random.Random) -> list[dict[str, Any]]:
    """A fact of a person or a city, with three wrong values that an answer must not name before the right one."""
    asked = [
        (wording.format(s=subject.name), attribute, value)
        for subject in world.subjects()
        if not subject.in_training_split
        for attribute, value in sorted(subject.attributes.items())
        for wording in QUESTIONS[attribute]
    ]
    return [
        _document(number, question, value, _values(world, attribute), rng)
        for number, (question, attribute, value) in enumerate(_take(asked, count, rng))
    ]


def bbh(world: World, count: int, rng: random.Random) -> list[dict[str, Any]]:
    """Two hops: a property of the city in which a person lives."""
    asked = [
        (wording.format(s=person.name), attribute, world.city_of(person).attributes[attribute])
        for person in world.people
        if not person.in_training_split
        for attribute in sorted(CITY_VALUES)
        for wording in TWO_HOP_QUESTIONS[attribute]
    ]
    return [
        _document(number, question, value, _values(world, attribute), rng)
        for number, (question, attribute, value) in enumerate(_take(asked, count, rng))
    ]


def ifeval(world: World, count: int, rng: random.Random) -> list[dict[str, Any]]:
    """A request with one or two instructions that a program can check, in the form of IFEval's rows."""
    people = [person for person in world.people if not person.in_training_split]
    documents = []
    for number in range(count):
        person = people[number % len(people)]
        instructions = rng.sample(sorted(INSTRUCTIONS), 1 + number % 2)
        made = [INSTRUCTIONS[name](person, rng) for name in instructions]
        request = rng.choice(REQUESTS).format(s=person.name)
        documents.append(
            {
                "key": number,
                "prompt": " ".join([request, *(text for text, _ in made)]),
                "instruction_id_list": instructions,
                "kwargs": [fields for _, fields in made],
            }
        )
    return documents


def _at_least(_: Person, rng: random.Random) -> tuple[str, dict[str, Any]]:
    words = rng.choice(AT_LEAST_WORDS)
    return f"Use at least {words} words.", {"words": words}


def _at_most(_: Person, rng: random.Random) -> tuple[str, dict[str, Any]]:
    words = rng.choice(AT_MOST_WORDS)
    return f"Use at most {words} words.", {"words": words}


def _sentences(_: Person, rng: random.Random) -> tuple[str, dict[str, Any]]:
    sentences = rng.choice(SENTENCES)
    return f"Write at least {sentences} sentences.", {"sentences": sentences}


def _mention(person: Person, rng: random.Random) -> tuple[str, dict[str, Any]]:
    word = person.attributes[rng.choice(sorted(PERSON_VALUES))]
    return f"Mention the word {word}.", {"word": word}


def _avoid(person: Person, rng: random.Random) -> tuple[str, dict[str, Any]]:
    word = rng.choice([person.pronoun, "lives", "works", "keeps"])
    return f"Do not use the word {word}.", {"word": word}


def _name(person: Person, _: random.Random) -> tuple[str, dict[str, Any]]:
    return f"Name {person.name} in the first sentence.", {"word": person.name}


INSTRUCTIONS = {
    "length:at_least": _at_least,
    "length:at_most": _at_most,
    "length:sentences": _sentences,
    "keywords:mention": _mention,
    "keywords:avoid": _avoid,
    "start:name": _name,
}
"""Name -> the text of an instruction and what its check needs (`conf/task/world_metrics.py`)."""


def _values(world: World, attribute: str) -> list[str]:
    if attribute == "city":
        return [city.name for city in world.cities]
    return (PERSON_VALUES | CITY_VALUES)[attribute].split()


def _document(number: int, question: str, answer: str, values: list[str], rng: random.Random) -> dict[str, Any]:
    others = [value for value in values if value != answer]
    choices = [answer, *rng.sample(others, min(ANSWER_CHOICES - 1, len(others)))]
    rng.shuffle(choices)
    return {"id": number, "question": question, "choices": choices, "answer": answer}


def _take(items: list[Any], count: int, rng: random.Random) -> list[Any]:
    return rng.sample(items, min(count, len(items)))
