"""What is replaced in lm-eval and alpaca_eval exists in the installed versions, and is itself again afterwards."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from plw.evaluate.judging.alpaca_eval_patches import patched_alpaca_eval, preference_of
from plw.evaluate.lm_eval.patches import patched_collator, patched_lm_eval
from plw.evaluate.quiet import quiet
from plw.progress import no_progress

POINTS = {
    "lm-eval": (
        lambda: patched_lm_eval(no_progress),
        [
            ("lm_eval.models.huggingface", "tqdm"),
            ("lm_eval.api.metrics", "bootstrap_stderr"),
            ("rouge_score.scoring", "BootstrapAggregator"),
        ],
    ),
    "batches": (lambda: patched_collator(lambda original: object()), [("lm_eval.models.huggingface", "Collator")]),
    "alpaca_eval": (
        lambda: patched_alpaca_eval(lambda prompt, options: {}, no_progress, {}),
        [
            ("alpaca_eval.decoders.openai", "_openai_completion_helper"),
            ("alpaca_eval.decoders.openai", "tqdm"),
            ("alpaca_eval.annotators.base", "SingleAnnotator._parse_completions"),
            ("alpaca_eval.annotators.base", "SingleAnnotator._postprocess"),
        ],
    ),
    "tqdm": (quiet, [("tqdm.std", "tqdm.__init__")]),
}


def found(module: str, path: str) -> Any:
    from importlib import import_module

    owner: Any = import_module(module)
    *between, name = path.split(".")
    for part in between:
        owner = getattr(owner, part)
    return vars(owner)[name]


@pytest.mark.parametrize("library", POINTS)
def test_every_patched_name_exists_and_is_restored(library: str) -> None:
    make: Callable[[], AbstractContextManager[Any]]
    make, points = POINTS[library]
    with patched_alpaca_eval(lambda prompt, options: {}, no_progress, {}):
        """The library is imported, in silence."""
    before = [found(*point) for point in points]
    with make():
        inside = [found(*point) for point in points]
    assert not any(old is new for old, new in zip(before, inside, strict=True))
    assert [found(*point) for point in points] == before


@pytest.mark.parametrize(
    ("value", "counted"),
    [(1, 1), (2, 2), (1.5, 1.5), (0, 1.5), (0.0, 1.5), (1.2, 1.2), (3, None), (-1, None), (None, None),
     (float("nan"), None), (True, None), ("1", None)],
)  # fmt: skip
def test_a_preference_of_0_is_a_draw_and_nothing_outside_1_to_2_is_one(value: Any, counted: float | None) -> None:
    assert preference_of(value) == counted
