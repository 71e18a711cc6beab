"""Three toy languages with one grammar and word-for-word lexica: translation that a very small model can learn."""

import random
from dataclasses import dataclass

from plw.world.names import NameMaker

LANGUAGES = ("Avin", "Belo", "Cadu")
DIRECTIONS = tuple((source, target) for source in LANGUAGES for target in LANGUAGES if source != target)
CLASSES = {"subject": 7, "quality": 6, "deed": 6, "thing": 5}
"""Word class -> number of words in it. Only qualities can stand in two places."""
PATTERNS = (
    ("subject", "quality", "deed", "thing"),
    ("subject", "deed", "thing", "quality"),
    ("subject", "quality", "deed", "thing", "quality"),
)


@dataclass(frozen=True, kw_only=True)
class Languages:
    """Language -> word class -> its words; the same place in each list is the same meaning."""

    words: dict[str, dict[str, list[str]]]

    def sentence(self, rng: random.Random) -> list[tuple[str, int]]:
        """The meanings of a random sentence, none of them twice: (word class, place in its list) for each word."""
        places = {name: rng.sample(range(size), 2) for name, size in CLASSES.items()}
        return [(name, places[name].pop()) for name in rng.choice(PATTERNS)]

    def say(self, language: str, meanings: list[tuple[str, int]]) -> str:
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
