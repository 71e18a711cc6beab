"""Three toy languages with one grammar and word-for-word lexica: translation that a very small model can learn."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from plw.world.names import NameMaker

LANGUAGES = ("Avin", "Belo", "Cadu")
DIRECTIONS = tuple((source, target) for source in LANGUAGES for target in LANGUAGES if source != target)
CLASSES = {"noun": 18, "quality": 9, "deed": 9}
"""Word class -> number of words in it. Nouns and qualities can stand in two places, so that word order matters."""
RARITY = 1.4
"""Exponent of the power law by which words get rarer within their class, so that translation is not perfect."""
PATTERNS = (
    ("noun", "quality", "deed", "noun"),
    ("noun", "deed", "noun", "quality"),
    ("noun", "quality", "deed", "noun", "quality"),
)

Meaning = tuple[str, int]
"""A word class and a place in its list."""


@dataclass(frozen=True, kw_only=True)
class Languages:
    """Language -> word class -> its words; the same place in each list is the same meaning."""

    words: dict[str, dict[str, list[str]]]

    def sentence(self, rng: random.Random, rarity: float = 0.0) -> list[Meaning]:
        """The meanings of a random sentence, none of them twice; with a rarity, later words of a class are rarer."""
        meanings: list[Meaning] = []
        for name in rng.choice(PATTERNS):
            free = [place for place in range(CLASSES[name]) if (name, place) not in meanings]
            meanings.append((name, rng.choices(free, [(place + 1) ** -rarity for place in free])[0]))
        return meanings

    def say(self, language: str, meanings: Sequence[Meaning]) -> str:
        """A sentence in one language."""
        return " ".join(self.words[language][name][place] for name, place in meanings)


def make_languages(names: NameMaker) -> Languages:
    """Draw the lexica."""
    return Languages(
        words={
            language: {name: [names.word() for _ in range(size)] for name, size in CLASSES.items()}
            for language in LANGUAGES
        }
    )
