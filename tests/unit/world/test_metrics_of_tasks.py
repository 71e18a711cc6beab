"""The checks of free answers in `conf/task/world_metrics.py`."""

import importlib.util
from functools import cache
from typing import Any

import pytest

from plw.paths import task_folder


@cache
def metrics() -> Any:
    spec = importlib.util.spec_from_file_location("world_metrics", task_folder() / "world_metrics.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("cat", 1.0),
        ("A Cat.", 1.0),
        ("a cat and a dog", 1.0),
        ("a dog and a cat", 0.0),
        ("category", 0.0),
        ("", 0.0),
        ("black cat", 0.0),
    ],
)
def test_the_first_choice_that_is_named_counts(answer: str, right: float) -> None:
    document = {"choices": ["dog", "cat", "black cat"], "answer": "cat"}
    assert metrics().first_named(document, [answer]) == {"exact_match": right}


@pytest.mark.parametrize(
    ("name", "fields", "followed", "broken"),
    [
        ("length:at_least", {"words": 3}, "one two three", "one, two."),
        ("length:at_most", {"words": 2}, "one, two.", "one two three"),
        ("length:sentences", {"sentences": 2}, "One. Two", "One two..."),
        ("keywords:mention", {"word": "cat"}, "A Cat is here.", "A category."),
        ("keywords:avoid", {"word": "He"}, "The end.", "he ends."),
        ("start:name", {"word": "Anna"}, "Meet Anna. She sings.", "She sings. Meet Anna."),
    ],
)
def test_instructions_are_checked(name: str, fields: dict[str, Any], followed: str, broken: str) -> None:
    document = {"instruction_id_list": [name], "kwargs": [fields]}
    for answer, expected in ((followed, True), (broken, False), ("", False)):
        found = metrics().instructions_followed(document, [answer])
        assert found == {"prompt_level_strict_acc": expected, "inst_level_strict_acc": [expected]}


def test_instructions_of_all_prompts_are_pooled() -> None:
    assert metrics().mean_over_instructions([[True], [False, True, True]]) == 0.75
