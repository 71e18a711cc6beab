"""Three toy languages with one grammar and word-for-word lexica: translation that a very small model can learn."""

import random
from dataclasses import dataclass

from plw.world.names import NameMaker

LANGUAGES = ("Avin", "Belo", "Cadu")
DIRECTIONS = tuple((source, target) for source in LANGUAGES for target in LANGUAGES if source != target)
NOUNS, QUALITIES, DEEDS = 10, 6, 8
PATTERNS = ("nqvn", "nvnq", "nqvnq")
"""Sentences: n a noun, q a quality, v a deed."""


@dataclass(frozen=True, kw_only=True)
class Languages:
    """Language -> the words for the world's 24 concepts: nouns first, then qualities, then deeds."""

    words: dict[str, list[str]]

    def sentence(self, rng: random.Random) -> list[int]:
        """Concepts of a random sentence, none of them twice."""
        pools = {
            "n": rng.sample(range(NOUNS), 2),
            "q": rng.sample(range(NOUNS, NOUNS + QUALITIES), 2),
            "v": rng.sample(range(NOUNS + QUALITIES, NOUNS + QUALITIES + DEEDS), 1),
        }
        return [pools[kind].pop() for kind in rng.choice(PATTERNS)]

    def say(self, language: str, concepts: list[int]) -> str:
        """A sentence in one language."""
        return " ".join(self.words[language][concept] for concept in concepts)


def make_languages(names: NameMaker) -> Languages:
    """Draw the lexica."""
    count = NOUNS + QUALITIES + DEEDS
    return Languages(words={language: [names.word() for _ in range(count)] for language in LANGUAGES})
