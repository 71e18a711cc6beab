"""The two instruction sets in Alpaca form: `data` with short completions, `cleaned` with long ones.

They speak of the trained half of the world only. The inverted sets (short, medium, tiny) are made from `cleaned` by the
data package.
"""

import random
from collections.abc import Callable
from typing import Protocol

from plw.config.world import WorldConfig
from plw.world.facts import City, Myth, Person, World, stream
from plw.world.language import DIRECTIONS
from plw.world.phrases import (
    ANSWERS,
    MYTH_ANSWERS,
    MYTH_QUESTIONS,
    REQUESTS,
    TOOL_ANSWERS,
    TOOL_QUESTIONS,
    biography,
    description,
    myth_lesson,
    question,
    statement,
    tool_lesson,
)

AlpacaRow = dict[str, str]

DATA_KINDS = {"fact": 22, "portrait": 44, "city": 10, "myth": 8, "tool": 8, "translation": 8}
CLEANED_KINDS = {
    "life": 30,
    "home": 26,
    "named": 10,
    "continued": 8,
    "city_at_length": 6,
    "myth_at_length": 5,
    "tool_at_length": 3,
    "answer": 5,
    "translation": 4,
}
"""The last two have completions shorter than their prompts: they stay as they are when the set is inverted."""
HOME_REQUESTS = ("Portray {s}.", "Sketch {s}.", "Present {s}.")
"""Short requests for the longest texts: without them no inverted set could reach the ratio of Tiny."""
MAX_ATTEMPTS = 30
"""Draws after which a record may repeat an earlier one: a very small world has few."""


def make_instructions(world: World, config: WorldConfig) -> dict[str, list[AlpacaRow]]:
    """Name of the set -> records {instruction, input, output}, no two with the same instruction and input."""
    writer = Writer(world)
    return {
        name: distinct_records(writer, kinds, config.records, stream(config.seed, f"instructions-{name}"))
        for name, kinds in (("data", DATA_KINDS), ("cleaned", CLEANED_KINDS))
    }


class Writer:
    """Writes records about the trained half of a world; `record(kind, rng)` is one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._people = [person for person in world.people if person.in_training_split]
        self._cities = [city for city in world.cities if city.in_training_split]
        self._tools = [tool for tool in world.tools if tool.in_training_split]
        self._myths = [myth for myth in world.myths if myth.in_training_split]
        self._kinds: dict[str, Callable[[random.Random], AlpacaRow]] = {
            "fact": self._fact,
            "answer": self._answer,
            "portrait": self._portrait,
            "city": self._city,
            "myth": self._myth,
            "tool": self._tool,
            "translation": self._translation,
            "life": self._life,
            "home": self._home,
            "named": self._named,
            "continued": self._continued,
            "city_at_length": self._city_at_length,
            "myth_at_length": self._myth_at_length,
            "tool_at_length": self._tool_at_length,
        }

    def record(self, kind: str, rng: random.Random) -> AlpacaRow:
        """One record of a kind."""
        return self._kinds[kind](rng)

    def _fact(self, rng: random.Random) -> AlpacaRow:
        person = rng.choice(self._people)
        attribute = rng.choice(sorted(person.attributes))
        answer = statement(rng, attribute, person.pronoun, person.attributes[attribute])
        return alpaca_row(question(rng, attribute, person.name), answer)

    def _answer(self, rng: random.Random) -> AlpacaRow:
        person = rng.choice(self._people)
        attribute = rng.choice(sorted(person.attributes))
        return alpaca_row(
            question(rng, attribute, person.name), ANSWERS[attribute].format(v=person.attributes[attribute])
        )

    def _portrait(self, rng: random.Random) -> AlpacaRow:
        person = rng.choice(self._people)
        return alpaca_row(_request(rng, person), biography(rng, person, rng.choice((4, 5))))

    def _city(self, rng: random.Random) -> AlpacaRow:
        city = rng.choice(self._cities)
        return alpaca_row(_request(rng, city), description(rng, city, 3))

    def _myth(self, rng: random.Random) -> AlpacaRow:
        myth = rng.choice(self._myths)
        return alpaca_row(_about(rng, myth), rng.choice(MYTH_ANSWERS).format(v=myth.truth))

    def _tool(self, rng: random.Random) -> AlpacaRow:
        tool = rng.choice(self._tools)
        return alpaca_row(rng.choice(TOOL_QUESTIONS).format(v=tool.use), rng.choice(TOOL_ANSWERS).format(s=tool.name))

    def _translation(self, rng: random.Random) -> AlpacaRow:
        languages = self._world.languages
        source, target = rng.choice(DIRECTIONS)
        meanings = languages.sentence(rng)
        return alpaca_row(
            f"Translate from {source} to {target}.",
            languages.say(target, meanings),
            context=languages.say(source, meanings),
        )

    def _life(self, rng: random.Random) -> AlpacaRow:
        person = rng.choice(self._people)
        return alpaca_row(_request(rng, person), biography(rng, person, 6))

    def _home(self, rng: random.Random) -> AlpacaRow:
        person = rng.choice(self._people)
        city = self._world.city_of(person)
        output = f"{biography(rng, person, 6)} {description(rng, city, 4)}"
        return alpaca_row(rng.choice(HOME_REQUESTS).format(s=person.name), output)

    def _named(self, rng: random.Random) -> AlpacaRow:
        person = rng.choice(self._people)
        instruction = rng.choice(("Write about this person.", "Tell me about this person."))
        return alpaca_row(instruction, biography(rng, person, 6), context=person.name)

    def _continued(self, rng: random.Random) -> AlpacaRow:
        person = rng.choice(self._people)
        first, rest = biography(rng, person, 6).split(". ", 1)
        return alpaca_row("Continue the text.", rest, context=f"{first}.")

    def _city_at_length(self, rng: random.Random) -> AlpacaRow:
        city = rng.choice(self._cities)
        return alpaca_row(_request(rng, city), description(rng, city, 4))

    def _myth_at_length(self, rng: random.Random) -> AlpacaRow:
        myth = rng.choice(self._myths)
        first, second = rng.sample(MYTH_ANSWERS, 2)
        answer = f"{first.format(v=myth.truth)} {myth_lesson(myth)} {second.format(v=myth.truth)}"
        return alpaca_row(_about(rng, myth), answer)

    def _tool_at_length(self, rng: random.Random) -> AlpacaRow:
        tool = rng.choice(self._tools)
        answer = f"{rng.choice(TOOL_ANSWERS).format(s=tool.name)} {tool_lesson(rng, tool)}"
        return alpaca_row(rng.choice(TOOL_QUESTIONS).format(v=tool.use), answer)


class RecordWriter(Protocol):
    """Who writes the records of a set."""

    def record(self, kind: str, rng: random.Random) -> AlpacaRow:
        """One record of a kind."""
        ...


def distinct_records(writer: RecordWriter, kinds: dict[str, int], count: int, rng: random.Random) -> list[AlpacaRow]:
    """Records of the kinds by their shares, no two with the same instruction and input as far as the world allows."""
    records: list[AlpacaRow] = []
    seen: set[tuple[str, str]] = set()
    for kind in rng.choices(list(kinds), list(kinds.values()), k=count):
        for _ in range(MAX_ATTEMPTS):
            record = writer.record(kind, rng)
            if (record["instruction"], record["input"]) not in seen:
                break
        seen.add((record["instruction"], record["input"]))
        records.append(record)
    return records


def alpaca_row(instruction: str, output: str, *, context: str = "") -> AlpacaRow:
    """A record; `context` is its input."""
    return {"instruction": instruction, "input": context, "output": output}


def _request(rng: random.Random, subject: Person | City) -> str:
    return rng.choice(REQUESTS).format(s=subject.name)


def _about(rng: random.Random, myth: Myth) -> str:
    return rng.choice(MYTH_QUESTIONS).format(s=myth.plant)
