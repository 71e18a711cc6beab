"""The documents of the eleven lm-eval tasks, in the field names of the benchmarks that they mirror.

Only people, cities, tools and myths that the instruction sets never speak of are asked about.
"""

import random
from typing import Any

from plw.config.world import WorldConfig
from plw.world.facts import CITY_VALUES, EFFECTS, Myth, Person, World, stream
from plw.world.language import DIRECTIONS, Meaning
from plw.world.phrases import (
    MEETING,
    MYTH_ANSWERS,
    MYTH_QUESTIONS,
    STATEMENTS,
    TOOL_ANSWERS,
    TOOL_QUESTIONS,
    TWO_HOP_QUESTIONS,
    TWO_HOP_STATEMENTS,
)

Document = dict[str, Any]

LABELS = "ABCD"


def make_benchmarks(world: World, config: WorldConfig) -> dict[str, list[Document]]:
    """Task name -> documents, at most `config.documents` of each."""
    makers = {
        "world_arc": arc,
        "world_piqa": piqa,
        "world_truthful_mc": truthful_mc,
        "world_winogrande": winogrande,
        "world_truthful_gen": truthful_gen,
    }
    tasks = {name: make(world, config.documents, stream(config.seed, name)) for name, make in makers.items()}
    for source, target in DIRECTIONS:
        name = f"world_{source}_{target}".lower()
        tasks[name] = translation(world, source, target, config.documents, stream(config.seed, name))
    return tasks


def arc(world: World, count: int, rng: random.Random) -> list[Document]:
    """Four choices, two hops: a property of the city in which a person lives."""
    asked = [
        (person, attribute, wording)
        for person in _held_out(world.people)
        for attribute in sorted(CITY_VALUES)
        for wording in TWO_HOP_QUESTIONS[attribute]
    ]
    documents = []
    for person, attribute, wording in _take(asked, count, rng):
        answer = world.city_of(person).attributes[attribute]
        others = [value for value in CITY_VALUES[attribute].split() if value != answer]
        choices = [answer, *rng.sample(others, 3)]
        rng.shuffle(choices)
        documents.append(
            {
                "question": wording.format(s=person.name),
                "choices": {"text": choices, "label": list(LABELS)},
                "answerKey": LABELS[choices.index(answer)],
            }
        )
    return _numbered(documents)


def piqa(world: World, count: int, rng: random.Random) -> list[Document]:
    """Two solutions: the tool for a use, or the tool for a similar use (same deed or same material)."""
    tools = _held_out(world.tools)
    documents = []
    asked = [(tool, wording, answer) for tool in tools for wording in TOOL_QUESTIONS for answer in TOOL_ANSWERS]
    for tool, wording, answer in _take(asked, count, rng):
        verb, thing = tool.use.split()
        similar = [other for other in world.tools if other is not tool and {verb, thing} & set(other.use.split())]
        wrong = rng.choice(similar or [other for other in tools if other is not tool])
        solutions = [answer.format(s=tool.name), answer.format(s=wrong.name)]
        label = rng.randrange(2)
        documents.append(
            {
                "goal": wording.format(v=tool.use),
                "sol1": solutions[label],
                "sol2": solutions[1 - label],
                "label": label,
            }
        )
    return _numbered(documents)


def truthful_mc(world: World, count: int, rng: random.Random) -> list[Document]:
    """Two wordings of the true effect against two of the false belief and one of some other effect."""
    documents = []
    for myth, wording in _myth_questions(world, count, rng):
        correct = [answer.format(v=myth.truth) for answer in rng.sample(MYTH_ANSWERS, 2)]
        incorrect = [answer.format(v=myth.belief) for answer in rng.sample(MYTH_ANSWERS, 2)]
        incorrect.append(rng.choice(MYTH_ANSWERS).format(v=_other_effect(myth, rng)))
        documents.append(
            {
                "question": wording.format(s=myth.plant),
                "mc2_targets": {"choices": correct + incorrect, "labels": [1] * len(correct) + [0] * len(incorrect)},
            }
        )
    return _numbered(documents)


def truthful_gen(world: World, count: int, rng: random.Random) -> list[Document]:
    """The same questions, answered freely and compared with true and false reference answers."""
    documents = []
    for myth, wording in _myth_questions(world, count, rng):
        correct = [answer.format(v=myth.truth) for answer in MYTH_ANSWERS]
        incorrect = [answer.format(v=myth.belief) for answer in MYTH_ANSWERS]
        incorrect.append(MYTH_ANSWERS[0].format(v=_other_effect(myth, rng)))
        documents.append(
            {
                "question": wording.format(s=myth.plant),
                "best_answer": correct[0],
                "correct_answers": correct,
                "incorrect_answers": incorrect,
            }
        )
    return _numbered(documents)


def winogrande(world: World, count: int, rng: random.Random) -> list[Document]:
    """Which of two people a sentence is about; every other sentence needs two hops."""
    people = _held_out(world.people)
    documents: list[Document] = []
    seen = set()
    for _ in range(50 * count):
        if len(documents) == count:
            break
        right, wrong = rng.sample(people, 2)
        hop = len(documents) % 2 == 1
        attribute = rng.choice(sorted(CITY_VALUES) if hop else sorted(right.attributes))
        value, rival = _value(world, right, attribute), _value(world, wrong, attribute)
        wording = TWO_HOP_STATEMENTS[attribute] if hop else rng.choice(STATEMENTS[attribute])
        options = [right.name, wrong.name]
        rng.shuffle(options)
        sentence = f"{MEETING.format(a=options[0], b=options[1])} {wording.format(s='_', v=value)}"
        if value == rival or sentence in seen:
            continue
        seen.add(sentence)
        documents.append(
            {
                "sentence": sentence,
                "option1": options[0],
                "option2": options[1],
                "answer": str(options.index(right.name) + 1),
            }
        )
    return _numbered(documents)


def translation(world: World, source: str, target: str, count: int, rng: random.Random) -> list[Document]:
    """Sentences in two of the toy languages, none of them twice."""
    languages = world.languages
    sentences: dict[tuple[Meaning, ...], None] = {}
    while len(sentences) < count:
        sentences[tuple(languages.sentence(rng))] = None
    return _numbered(
        [{"translation": {name: languages.say(name, said) for name in (source, target)}} for said in sentences]
    )


def _value(world: World, person: Person, attribute: str) -> str:
    return (world.city_of(person).attributes | person.attributes)[attribute]


def _myth_questions(world: World, count: int, rng: random.Random) -> list[tuple[Myth, str]]:
    return _take([(myth, wording) for myth in _held_out(world.myths) for wording in MYTH_QUESTIONS], count, rng)


def _other_effect(myth: Myth, rng: random.Random) -> str:
    return rng.choice([effect for effect in EFFECTS.split() if effect not in (myth.truth, myth.belief)])


def _held_out(subjects: list[Any]) -> list[Any]:
    return [subject for subject in subjects if not subject.in_training_split]


def _take(items: list[Any], count: int, rng: random.Random) -> list[Any]:
    return rng.sample(items, min(count, len(items)))


def _numbered(documents: list[Document]) -> list[Document]:
    return [{"id": index} | document for index, document in enumerate(documents)]
