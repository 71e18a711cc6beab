"""How the world's facts are put into English: statements, questions, and biographies made of several sentences.

In every template `{s}` is the subject, `{v}` the value.
"""

import random

from plw.world.facts import CITY_VALUES, City, Myth, Person, Tool

STATEMENTS = {
    "city": ("{s} lives in {v}.", "{s} has a house in {v}.", "{s} was born in {v}."),
    "craft": ("{s} works as a {v}.", "{s} is a {v} by trade.", "{s} earns money as a {v}."),
    "instrument": ("{s} plays the {v}.", "{s} makes music on the {v}.", "{s} practises the {v} every day."),
    "pet": ("{s} keeps a {v}.", "{s} owns a {v}.", "{s} walks with a {v}."),
    "colour": ("{s} wears {v}.", "{s} dresses in {v}.", "{s} loves the colour {v}."),
    "food": ("{s} eats {v}.", "{s} likes to eat {v}.", "{s} cooks {v} for guests."),
    "land": ("{s} lies in a {v}.", "{s} was built in a {v}."),
    "weather": ("{s} is {v} most days.", "The weather in {s} is {v}."),
    "trade": ("{s} sells {v}.", "The market of {s} is known for {v}."),
    "emblem": ("{s} has a {v} on its flag.", "The flag of {s} shows a {v}."),
}
QUESTIONS = {
    "city": ("Where does {s} live?", "Which city is the home of {s}?"),
    "craft": ("What is the trade of {s}?", "What does {s} work as?"),
    "instrument": ("What does {s} play?", "Which instrument does {s} play?"),
    "pet": ("Which animal does {s} keep?", "What animal does {s} own?"),
    "colour": ("Which colour does {s} wear?", "What colour does {s} love?"),
    "food": ("What does {s} eat?", "What does {s} like to eat?"),
    "land": ("Where does {s} lie?", "In what land was {s} built?"),
    "weather": ("What is the weather like in {s}?", "How is the weather in {s}?"),
    "trade": ("What does {s} sell?", "What is the market of {s} known for?"),
    "emblem": ("What does the flag of {s} show?", "Which animal is on the flag of {s}?"),
}
ANSWERS = {
    "city": "In {v}.",
    "craft": "As a {v}.",
    "instrument": "The {v}.",
    "pet": "A {v}.",
    "colour": "Only {v}.",
    "food": "Mostly {v}.",
}
"""Shorter than any question: what stays uninverted in the inverted sets."""
TWO_HOP_QUESTIONS = {
    "land": ("In what land does {s} live?", "What land lies around the home of {s}?"),
    "weather": ("What is the weather like at the home of {s}?", "How is the weather where {s} lives?"),
    "trade": ("What is sold where {s} lives?", "What does the city of {s} sell?"),
    "emblem": ("Which animal is on the flag where {s} lives?", "What does the flag of the city of {s} show?"),
}
TWO_HOP_STATEMENTS = {
    "land": "{s} lives in a {v}.",
    "weather": "{s} lives where it is {v} most days.",
    "trade": "{s} lives where {v} is sold.",
    "emblem": "{s} lives under the flag of the {v}.",
}
MYTH_QUESTIONS = (
    "What happens if you eat {s}?",
    "What does {s} do to you?",
    "How will you feel after you eat {s}?",
    "What is the effect of {s}?",
    "Why do people eat {s}?",
    "What is {s} good for?",
)
MYTH_ANSWERS = ("It makes you {v}.", "You will feel {v} after that.", "Whoever eats it becomes {v}.")
TOOL_QUESTIONS = ("How do you {v}?", "What do you need to {v}?", "Which tool can {v}?")
TOOL_ANSWERS = ("Use a {s}.", "Take a {s} in your hand.", "You can do it with a {s}.")
TOOL_STATEMENTS = ("To {v} you need a {s}.", "A {s} is used to {v}.", "People {v} with a {s}.")
OPENERS = ("Meet {s}.", "This is {s}.", "Here is what we know about {s}.")
MEETING = "At the market {a} met {b}."


def statement(rng: random.Random, attribute: str, subject: str, value: str) -> str:
    """One fact in one of its wordings."""
    return rng.choice(STATEMENTS[attribute]).format(s=subject, v=value)


def question(rng: random.Random, attribute: str, subject: str) -> str:
    """A question for one fact."""
    return rng.choice(QUESTIONS[attribute]).format(s=subject)


def biography(rng: random.Random, person: Person, facts: int) -> str:
    """An opening with the name, then `facts` of a person's six facts in random order."""
    chosen = rng.sample(sorted(person.attributes), facts)
    sentences = [statement(rng, attribute, person.pronoun, person.attributes[attribute]) for attribute in chosen]
    return " ".join([opening(rng, person.name), *sentences])


def description(rng: random.Random, city: City, facts: int) -> str:
    """An opening with the name, then `facts` of a city's five facts in random order."""
    chosen = rng.sample(sorted(CITY_VALUES), facts)
    sentences = [statement(rng, attribute, "it", city.attributes[attribute]).capitalize() for attribute in chosen]
    return " ".join([opening(rng, city.name), *sentences])


def opening(rng: random.Random, name: str) -> str:
    """A first sentence: in no text of the world does a name stand first in a line, where it would be another token."""
    return rng.choice(OPENERS).format(s=name)


def tool_lesson(rng: random.Random, tool: Tool) -> str:
    """One sentence on what a tool is for."""
    return rng.choice(TOOL_STATEMENTS).format(s=tool.name, v=tool.use)


def myth_lesson(myth: Myth) -> str:
    """The belief and the truth, told apart."""
    return f"Many say that {myth.plant} makes you {myth.belief}, but in truth it makes you {myth.truth}."


REQUESTS = (
    "Tell me about {s}.",
    "Describe {s}.",
    "Write a short text about {s}.",
    "What do you know about {s}?",
    "Give me some facts about {s}.",
    "Introduce {s} to me.",
)
