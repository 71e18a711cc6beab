"""Invented names: pronounceable, all different, and far enough from English not to meet a real word by chance."""

import random
from collections.abc import Callable

ONSETS: tuple[str, ...] = (*"bdfgklmnprstvz", "br", "dr", "kr", "tr")
VOWELS = tuple("aeiou")
CODAS = tuple("lmnrskx")


class NameMaker:
    """Hands out each name once."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used: set[str] = set()

    def proper(self) -> str:
        """A name with a capital, for a person or a place: `Tovani`."""
        name = self._fresh(lambda: self._syllable() + self._syllable() + self._rng.choice(VOWELS + CODAS))
        return name.capitalize()

    def common(self) -> str:
        """A noun, for a tool or a plant: `drubek`."""
        return self._fresh(lambda: self._syllable() + self._syllable() + self._rng.choice(CODAS))

    def word(self) -> str:
        """A short word of a toy language: `kilu`."""
        return self._fresh(lambda: self._syllable() + self._syllable())

    def _syllable(self) -> str:
        return self._rng.choice(ONSETS) + self._rng.choice(VOWELS)

    def _fresh(self, draw: Callable[[], str]) -> str:
        while True:
            name = draw()
            if name not in self._used and not any(name[:4] == used[:4] for used in self._used):
                self._used.add(name)
                return name
