"""Pairs of answers to one request, of which one is better: full and true against short, or against partly false.

They speak of the trained half of the world, as the instructions do. The set is drawn from a random stream of its own
and is no part of the world's fingerprint: what it writes must never change under this name. A changed set gets a name
of its own.
"""

import random
from dataclasses import replace

from plw.config.world import WorldConfig
from plw.world.facts import CITY_VALUES, PERSON_VALUES, City, Person, World, stream
from plw.world.phrases import REQUESTS, biography, description, question, statement

PairRow = dict[str, str]

PAIR_SET = "pairs"
PAIR_KINDS = {"short": 40, "false": 40, "answer": 20}
"""Shares: a full answer against one of few facts, against one of some false facts, and a true fact against a false."""
SHORT_FACTS = (1, 2)
FALSE_FACTS = (2, 3)
VALUES = {name: words.split() for name, words in (PERSON_VALUES | CITY_VALUES).items()}


def make_pairs(world: World, config: WorldConfig) -> list[PairRow]:
    """Rows {instruction, input, chosen, rejected}, as many as an instruction set has records."""
    rng = stream(config.seed, "preference pairs")
    subjects: list[Person | City] = [subject for subject in world.subjects() if subject.in_training_split]
    kinds = rng.choices(list(PAIR_KINDS), list(PAIR_KINDS.values()), k=config.records)
    return [_pair(kind, rng.choice(subjects), rng) for kind in kinds]


def _pair(kind: str, subject: Person | City, rng: random.Random) -> PairRow:
    known = [name for name in sorted(subject.attributes) if name in VALUES]
    if kind == "answer":
        attribute, wording = rng.choice(known), rng.getrandbits(32)
        name = subject.name if isinstance(subject, City) else subject.pronoun
        chosen, rejected = (
            statement(random.Random(wording), attribute, name, of.attributes[attribute])
            for of in (subject, _with_false(subject, [attribute], rng))
        )
        return _row(question(rng, attribute, subject.name), chosen, rejected)
    asked, facts = rng.choice(REQUESTS).format(s=subject.name), _facts(subject)
    if kind == "short":
        return _row(asked, _text(rng, subject, facts), _text(rng, subject, rng.choice(SHORT_FACTS)))
    false = _with_false(subject, rng.sample(known, rng.choice(FALSE_FACTS)), rng)
    return _row(asked, _text(rng, subject, facts), _text(rng, false, facts))


def _with_false(subject: Person | City, attributes: list[str], rng: random.Random) -> Person | City:
    """The subject as it is not: other values of some attributes."""
    false = {
        name: rng.choice([value for value in VALUES[name] if value != subject.attributes[name]]) for name in attributes
    }
    return replace(subject, attributes=subject.attributes | false)


def _facts(subject: Person | City) -> int:
    return len(CITY_VALUES) if isinstance(subject, City) else len(subject.attributes)


def _text(rng: random.Random, subject: Person | City, facts: int) -> str:
    return description(rng, subject, facts) if isinstance(subject, City) else biography(rng, subject, facts)


def _row(instruction: str, chosen: str, rejected: str) -> PairRow:
    return {"instruction": instruction, "input": "", "chosen": chosen, "rejected": rejected}
