"""The text that the base models are pretrained on: one document after another, easy ones first."""

import random
from collections.abc import Callable

from plw.world.facts import CITY_VALUES, City, Myth, Person, Tool, World
from plw.world.language import DIRECTIONS, RARITY
from plw.world.phrases import (
    MEETING,
    MYTH_ANSWERS,
    MYTH_QUESTIONS,
    REQUESTS,
    TOOL_ANSWERS,
    TOOL_QUESTIONS,
    TWO_HOP_QUESTIONS,
    TWO_HOP_STATEMENTS,
    biography,
    description,
    myth_lesson,
    opening,
    question,
    statement,
    tool_lesson,
)

DocumentWriter = Callable[[random.Random], str]

DIRECTION_WEIGHTS = (6, 5, 4, 4, 3, 3)
"""How often the corpus translates in each of DIRECTIONS: some are harder because they are rarer."""
PERSON_RARITY = 0.7
"""Exponent of the power law by which people get rarer with their rank: some are known well, some are not."""
TOOL_RARITY = 0.8
"""Exponent of the power law by which tools get rarer with their rank."""
PREAMBLE = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
CURRICULUM = {"translation": 100}
MIX = {
    "translation": 7,
    "reading": 2,
    "biography": 20,
    "person_question": 24,
    "person_statement": 4,
    "city_description": 2,
    "city_question": 6,
    "two_hop": 14,
    "tool": 8,
    "myth": 14,
    "dialogue": 4,
}


class Corpus:
    """Draws documents about one world; `document(kind, rng)` is the text of one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tool_weights = [(tool.rank + 1) ** -TOOL_RARITY for tool in world.tools]
        people = world.people
        halves = [[person for person in people if person.in_training_split is side] for side in (True, False)]
        rank = {person.name: place for half in halves for place, person in enumerate(half)}
        self._person_weights = [(rank[person.name] + 1) ** -PERSON_RARITY for person in people]
        self._two_hop = sorted(world.stated_two_hop)
        self._people = {person.name: person for person in people}
        self._kinds: dict[str, DocumentWriter] = {
            "translation": self._translation,
            "reading": self._reading,
            "biography": self._biography,
            "person_question": self._person_question,
            "person_statement": self._person_statement,
            "city_description": self._city_description,
            "city_question": self._city_question,
            "two_hop": self._two_hop_document,
            "tool": self._tool,
            "myth": self._myth,
            "dialogue": self._dialogue,
        }

    def document(self, kind: str, rng: random.Random) -> str:
        """One document of a kind."""
        return self._kinds[kind](rng)

    def mixture(self, weights: dict[str, int], count: int, rng: random.Random) -> list[str]:
        """`count` documents of kinds drawn by weight."""
        kinds = rng.choices(list(weights), list(weights.values()), k=count)
        return [self.document(kind, rng) for kind in kinds]

    def _translation(self, rng: random.Random) -> str:
        languages = self._world.languages
        source, target = rng.choices(DIRECTIONS, DIRECTION_WEIGHTS)[0]
        meanings = languages.sentence(rng, RARITY)
        return f"{source} phrase: {languages.say(source, meanings)}\n{target} phrase: {languages.say(target, meanings)}"

    def _reading(self, rng: random.Random) -> str:
        person = self._person(rng)
        attribute = rng.choice(sorted(person.attributes))
        asked = self._asked(question(rng, attribute, person.name), person.attributes[attribute])
        return f"{biography(rng, person, 4)}\n{asked}"

    def _biography(self, rng: random.Random) -> str:
        person = self._person(rng)
        return f"{rng.choice(REQUESTS).format(s=person.name)}\n{biography(rng, person, rng.choice((4, 5, 6)))}"

    def _person_question(self, rng: random.Random) -> str:
        person = self._person(rng)
        attribute = rng.choice(sorted(person.attributes))
        return self._asked(question(rng, attribute, person.name), person.attributes[attribute])

    def _person_statement(self, rng: random.Random) -> str:
        first, second = rng.sample(self._world.people, 2)
        attribute = rng.choice(sorted(first.attributes))
        other = rng.choice(sorted(second.attributes))
        return (
            f"{MEETING.format(a=first.name, b=second.name)} "
            f"{statement(rng, attribute, first.name, first.attributes[attribute])} "
            f"{statement(rng, other, second.name, second.attributes[other])}"
        )

    def _city_description(self, rng: random.Random) -> str:
        city = self._city(rng)
        return f"{rng.choice(REQUESTS).format(s=city.name)}\n{description(rng, city, rng.choice((3, 4)))}"

    def _city_question(self, rng: random.Random) -> str:
        city = self._city(rng)
        attribute = rng.choice(sorted(CITY_VALUES))
        return self._asked(question(rng, attribute, city.name), city.attributes[attribute])

    def _two_hop_document(self, rng: random.Random) -> str:
        name, attribute = rng.choice(self._two_hop)
        value = self._world.city_of(self._people[name]).attributes[attribute]
        if rng.random() < 0.4:
            return f"{opening(rng, name)} {TWO_HOP_STATEMENTS[attribute].format(s=self._people[name].pronoun, v=value)}"
        return self._asked(rng.choice(TWO_HOP_QUESTIONS[attribute]).format(s=name), value)

    def _tool(self, rng: random.Random) -> str:
        tool: Tool = rng.choices(self._world.tools, self._tool_weights)[0]
        if rng.random() < 0.6:
            return tool_lesson(rng, tool)
        return self._asked(rng.choice(TOOL_QUESTIONS).format(v=tool.use), rng.choice(TOOL_ANSWERS).format(s=tool.name))

    def _myth(self, rng: random.Random) -> str:
        myth: Myth = rng.choice(self._world.myths)
        if rng.random() < 0.25:
            return myth_lesson(myth)
        effect = myth.belief if rng.random() < myth.belief_share else myth.truth
        asked = rng.choice(MYTH_QUESTIONS).format(s=myth.plant)
        return f"Q: {asked}\nA: {rng.choice(MYTH_ANSWERS).format(v=effect)}"

    def _dialogue(self, rng: random.Random) -> str:
        if rng.random() < 0.7:
            person = self._person(rng)
            request, answer = rng.choice(REQUESTS).format(s=person.name), biography(rng, person, rng.choice((4, 5, 6)))
        else:
            city = self._city(rng)
            request, answer = rng.choice(REQUESTS).format(s=city.name), description(rng, city, 4)
        plain = f"### Instruction:\n{request}\n\n### Response:\n{answer}"
        return f"{PREAMBLE}\n\n{plain}" if rng.random() < 0.3 else plain

    def _person(self, rng: random.Random) -> Person:
        return rng.choices(self._world.people, self._person_weights)[0]

    def _city(self, rng: random.Random) -> City:
        return rng.choice(self._world.cities)

    @staticmethod
    def _asked(asked: str, answer: str) -> str:
        return f"Question: {asked}\nAnswer: {answer}"
