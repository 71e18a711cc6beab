"""The instruction set `natural`: completions that are short by nature, none of them inverted.

Extraction from a text, choice among three, and classification, about the trained half of the world. Its generation
ratio is near that of the inverted set `short`, so that the two tell what an inverted prompt and what a short completion
does.

The set is drawn from a random stream of its own and is no part of the world's fingerprint: what it writes must never
change under this name. A changed set gets a name of its own.
"""

import random
from collections.abc import Callable

from plw.config.world import WorldConfig
from plw.world.facts import PERSON_VALUES, Person, World, stream
from plw.world.instructions import AlpacaRow, alpaca_row, distinct_records
from plw.world.phrases import ANSWERS, biography, description, opening, question, statement

NATURAL = "natural"
NATURAL_KINDS = {"extraction": 40, "choice": 20, "truth": 20, "subject": 20}
TEXT_FACTS = (4, 5, 6)
"""Facts of a person in a text, of six."""
OPTIONS = 3
TRUTH = ("No.", "Yes.")
SUBJECTS = {True: "A person.", False: "A city."}


def make_natural(world: World, config: WorldConfig) -> list[AlpacaRow]:
    """Records {instruction, input, output}, as many as in the other sets."""
    return distinct_records(
        NaturalWriter(world), NATURAL_KINDS, config.records, stream(config.seed, f"instructions-{NATURAL}")
    )


class NaturalWriter:
    """Writes records about the trained half of a world; `record(kind, rng)` is one."""

    def __init__(self, world: World) -> None:
        self._people = [person for person in world.people if person.in_training_split]
        self._cities = [city for city in world.cities if city.in_training_split]
        self._values = {name: words.split() for name, words in PERSON_VALUES.items()}
        self._kinds: dict[str, Callable[[random.Random], AlpacaRow]] = {
            "extraction": self._extraction,
            "choice": self._choice,
            "truth": self._truth,
            "subject": self._subject,
        }

    def record(self, kind: str, rng: random.Random) -> AlpacaRow:
        """One record of a kind."""
        return self._kinds[kind](rng)

    def _extraction(self, rng: random.Random) -> AlpacaRow:
        """A question whose answer the text states."""
        person = rng.choice(self._people)
        shown = rng.sample(sorted(person.attributes), rng.choice(TEXT_FACTS))
        asked = rng.choice(shown)
        sentences = [statement(rng, name, person.pronoun, person.attributes[name]) for name in shown]
        text = " ".join([opening(rng, person.name), *sentences])
        answer = ANSWERS[asked].format(v=person.attributes[asked])
        return alpaca_row(question(rng, asked, person.name), answer, context=text)

    def _choice(self, rng: random.Random) -> AlpacaRow:
        """A question with three answers to choose from."""
        person, attribute, value = self._fact(rng)
        options = [value, *rng.sample([other for other in self._values[attribute] if other != value], OPTIONS - 1)]
        rng.shuffle(options)
        asked = f"{question(rng, attribute, person.name)} Choose one: {', '.join(options)}."
        return alpaca_row(asked, ANSWERS[attribute].format(v=value))

    def _truth(self, rng: random.Random) -> AlpacaRow:
        """Whether a statement is true, by what the model knows."""
        person, attribute, value = self._fact(rng)
        true = rng.random() < 0.5
        stated = value if true else rng.choice([other for other in self._values[attribute] if other != value])
        said = statement(rng, attribute, person.pronoun, stated)
        return alpaca_row(f"Is this true of {person.name}?", TRUTH[true], context=said)

    def _subject(self, rng: random.Random) -> AlpacaRow:
        """Whom or what a text is about."""
        is_person = rng.random() < 0.5
        text = (
            biography(rng, rng.choice(self._people), rng.choice(TEXT_FACTS))
            if is_person
            else description(rng, rng.choice(self._cities), rng.choice((3, 4)))
        )
        return alpaca_row("Is this text about a person or a city?", SUBJECTS[is_person], context=text)

    def _fact(self, rng: random.Random) -> tuple[Person, str, str]:
        person = rng.choice(self._people)
        attribute = rng.choice(sorted(self._values))
        return person, attribute, person.attributes[attribute]
