"""The names of datasets: which of the paper's five a name stands for, and the order in which they are shown."""

from collections.abc import Iterable

PAPER_KINDS = ("data", "cleaned", "short", "medium", "tiny")
"""The last words of the names of the paper's five datasets, in its order."""


def dataset_order(datasets: Iterable[str]) -> list[str]:
    """The paper's order (data, cleaned, short, medium, tiny), then the others by name."""
    last = len(PAPER_KINDS)
    places = {kind: place for place, kind in enumerate(PAPER_KINDS)}
    return sorted(set(datasets), key=lambda name: (places.get(dataset_kind(name), last), name))


def dataset_kind(name: str) -> str:
    """Which of the paper's five a dataset is, by the last word of its name: ``data``, ``cleaned``, ``short``, ...

    Any other name gives a word that is none of them.
    """
    return name.lower().rpartition("-")[2].removeprefix("alpacadata") or "data"
