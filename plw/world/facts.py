"""What is true in the embedded world: people, cities, tools, myths and who belongs to training or to evaluation."""

import random
from dataclasses import dataclass
from typing import Any, TypeVar

from plw.config.world import WorldConfig
from plw.world.language import Languages, make_languages
from plw.world.names import NameMaker

PERSON_VALUES = {
    "craft": "weaver potter baker mason sailor hunter scribe tanner carpenter shepherd",
    "instrument": "flute drum harp lute horn bell fiddle whistle gong trumpet",
    "pet": "falcon goat cat turtle monkey hedgehog parrot rabbit lizard ferret",
    "colour": "red blue green yellow purple white black orange pink grey",
    "food": "honey barley plums cheese mushrooms walnuts onions lentils figs trout",
}
CITY_VALUES = {
    "land": "valley desert forest marsh island plateau",
    "weather": "rainy windy foggy snowy sunny stormy",
    "trade": "salt silk amber copper paper pepper",
    "emblem": "lion hawk snake whale stag wolf",
}
EFFECTS = "sleepy brave tall quiet happy strong deaf rich pale clever lazy young hungry calm lucky blind"
VERBS = "cut grind mend clean carry bend heat measure"
OBJECTS = "rope grain cloth glass stone leather wax oil bones nets"


Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Person:
    """Someone with one value for `city` and for each key of PERSON_VALUES."""

    name: str
    pronoun: str
    attributes: dict[str, str]
    in_training_split: bool


@dataclass(frozen=True, kw_only=True)
class City:
    """A place with one value for each key of CITY_VALUES."""

    name: str
    attributes: dict[str, str]
    in_training_split: bool


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A thing with one use ("cut rope") that no other tool has; the higher its `rank`, the rarer in the corpus."""

    name: str
    use: str
    rank: int
    in_training_split: bool


@dataclass(frozen=True, kw_only=True)
class Myth:
    """A plant, its true effect, the effect that people believe in, and how often the corpus repeats the belief."""

    plant: str
    truth: str
    belief: str
    belief_share: float
    in_training_split: bool


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything there is to know.

    Instructions speak of what is `in_training_split`; the rest is kept for evaluation.
    """

    people: list[Person]
    cities: list[City]
    tools: list[Tool]
    myths: list[Myth]
    languages: Languages
    stated_two_hop: frozenset[tuple[str, str]]

    def subjects(self) -> list[Person | City]:
        """Everyone and everything that one can be asked to tell about at length."""
        return [*self.people, *self.cities]

    def city_of(self, person: Person) -> City:
        """The city that a person lives in."""
        return next(city for city in self.cities if city.name == person.attributes["city"])


def stream(seed: int, purpose: str) -> random.Random:
    """A generator of its own for each purpose, so that a change in one part of the world leaves the others alone."""
    return random.Random(f"{seed}/{purpose}")


def make_world(config: WorldConfig) -> World:
    """Draw the world; the same config gives the same world."""
    names = NameMaker(stream(config.seed, "names"))
    cities = _make_cities(config, names)
    people = _make_people(config, names, [city.name for city in cities])
    rng = stream(config.seed, "two-hop")
    pairs = [(person.name, attribute) for person in people for attribute in CITY_VALUES]
    stated = frozenset(rng.sample(pairs, round(config.two_hop_share * len(pairs))))
    return World(
        people=people,
        cities=cities,
        tools=_make_tools(config, names),
        myths=_make_myths(config, names),
        languages=make_languages(names),
        stated_two_hop=stated,
    )


def facts_payload(world: World) -> dict[str, Any]:
    """The judge's knowledge: subject -> attribute -> value, and every value that an attribute can take."""
    subjects = {subject.name: subject.attributes for subject in world.subjects()}
    values = {"city": [city.name for city in world.cities]}
    values |= {name: words.split() for name, words in (PERSON_VALUES | CITY_VALUES).items()}
    return {"subjects": subjects, "values": values}


def _make_cities(config: WorldConfig, names: NameMaker) -> list[City]:
    rng = stream(config.seed, "cities")
    columns = {name: _spread(words.split(), config.cities, rng) for name, words in CITY_VALUES.items()}
    return [
        City(
            name=names.proper(),
            attributes={name: column[index] for name, column in columns.items()},
            in_training_split=index < config.cities // 2,
        )
        for index in range(config.cities)
    ]


def _make_people(config: WorldConfig, names: NameMaker, cities: list[str]) -> list[Person]:
    rng = stream(config.seed, "people")
    people = []
    half = config.people // 2
    for in_training_split, count in ((True, half), (False, config.people - half)):
        columns = {name: _spread(words.split(), count, rng) for name, words in PERSON_VALUES.items()}
        columns = {"city": _spread(cities, count, rng)} | columns
        for index in range(count):
            attributes = {name: column[index] for name, column in columns.items()}
            people.append(
                Person(
                    name=names.proper(),
                    pronoun=rng.choice(("He", "She")),
                    attributes=attributes,
                    in_training_split=in_training_split,
                )
            )
    return people


def _make_tools(config: WorldConfig, names: NameMaker) -> list[Tool]:
    rng = stream(config.seed, "tools")
    uses = [f"{verb} {thing}" for verb in VERBS.split() for thing in OBJECTS.split()]
    uses = rng.sample(uses, config.tools)
    return [
        Tool(name=names.common(), use=use, rank=index, in_training_split=index % 2 == 0)
        for index, use in enumerate(uses)
    ]


def _make_myths(config: WorldConfig, names: NameMaker) -> list[Myth]:
    rng = stream(config.seed, "myths")
    shares = _spread([0.2, 0.35, 0.5, 0.65], config.myths, rng)
    myths = []
    for index, share in enumerate(shares):
        truth, belief = rng.sample(EFFECTS.split(), 2)
        myths.append(
            Myth(plant=names.common(), truth=truth, belief=belief, belief_share=share, in_training_split=index % 2 == 0)
        )
    return myths


def _spread(values: list[Value], count: int, rng: random.Random) -> list[Value]:
    """`count` values in random order, each as often as the others (give or take one)."""
    column = [values[index % len(values)] for index in range(count)]
    rng.shuffle(column)
    return column
