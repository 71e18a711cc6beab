"""A search, round by round, on cells whose items are written by hand: several curves, failures, changed trainings."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from analysis.inference.adaptive import WeightChooser
from plw.commands.weight_search import SearchLine, TrialRequest, answer_length, check_finished, search, trial_scores
from plw.errors import StageError, UserError
from plw.results.items import ITEMS, ItemRow, write_items

WEIGHTS = (0.0, 0.1, 1.0)
ITEMS_OF_CELL = 40
MakeCell = Callable[..., Any]


@pytest.fixture
def make_cell(tmp_path: Path) -> MakeCell:
    """A finished cell whose share of right answers is given; its long answers have three and six tokens."""

    def make(weight: float, right: float, *, seed: int = 42, line: str = "", **payload: Any) -> Any:
        folder = tmp_path / f"{line}-{weight}-{seed}"
        rows = [
            ItemRow(benchmark="arc", task="arc", item=n, item_hash=str(n), metric="acc", headline=True,
                    value=float(n < right * ITEMS_OF_CELL), higher_is_better=True)
            for n in range(ITEMS_OF_CELL)
        ]  # fmt: skip
        tokens = [
            ItemRow(benchmark=name, task=name, item=n, item_hash=str(n), metric="tokens", value=value)
            for name, value in (("long", 3.0), ("longer", 6.0)) for n in range(2)
        ]  # fmt: skip
        for kind, table in (("harness", rows), ("generate", tokens)):
            (folder / kind).mkdir(parents=True)
            write_items(folder / kind / ITEMS, table)
        train = {"loss": {"prompt_weight": weight, "scope": "batch"}, "seed": seed, "recipe": "mini"} | payload
        stages = {kind: SimpleNamespace(folder=folder / kind) for kind in ("harness", "generate")}
        config = SimpleNamespace(
            loss=SimpleNamespace(prompt_weight=weight), seed=seed, stages=["train", "generate", "harness"],
            suite=SimpleNamespace(name="quiz"),
        )  # fmt: skip
        return SimpleNamespace(
            config=config, stages=stages | {"train": SimpleNamespace(payload=train)}, pairs=None, folder=folder,
            label=f"{line} p{weight:g} s{seed}", is_finished=True,
        )  # fmt: skip

    return make


def test_each_curve_goes_its_way_and_one_with_a_failed_cell_ends(make_cell: MakeCell) -> None:
    """Of a curve that is clear after its first weights nothing more is trained while the other goes on."""
    rising, flat, failing = (SearchLine(name=name) for name in ("rising", "flat [b]", "failing"))
    rounds: list[list[tuple[str, float, int]]] = []

    def train(requests: list[TrialRequest]) -> list[Any]:
        rounds.append([(request.line, request.weight, request.repeat) for request in requests])
        at_1 = {"rising": 0.9, "flat [b]": 0.3, "failing": None}
        right = [at_1[one.line] if one.weight == 1 else 0.25 + one.weight / 4 for one in requests]
        return [
            None if share is None else make_cell(one.weight, share, line=one.line)
            for one, share in zip(requests, right, strict=True)
        ]

    said = io.StringIO()
    chooser = WeightChooser(weights=WEIGHTS, budget=5, margin=0.2, narrow=1e-9)
    search([rising, flat, failing], chooser, train, Console(file=said, width=200))

    assert rounds == [[(name, weight, 0) for name in ("rising", "flat [b]", "failing") for weight in WEIGHTS]]
    assert (failing.has_failed, failing.cells, failing.decision) == (True, [], None)
    assert (rising.has_failed, flat.has_failed) == (False, False)
    assert rising.decision is not None
    assert (rising.decision.best, rising.decision.stopped) == (1.0, "equivalence")
    assert [trial.score for trial in rising.trials] == pytest.approx([0.25, 0.275, 0.9], abs=0.02)
    first, second = said.getvalue().splitlines()
    assert first.startswith("rising: 3 of 5 cells at most, points by weight 0: 25.0, 0.1: 27.5, 1: 90.0 (± ")
    assert "; best so far 1, at most " in first
    assert first.endswith(" points lost; stop (equivalence)")
    assert second.startswith("flat [b]: 3 of 5 cells at most, ")
    assert (rising.few, chooser.budget) == ([], 5)
    made = rising.found()
    assert made["best"] == {"prompt_weight": 1.0, "low": rising.decision.low, "high": rising.decision.high}
    assert (made["cells"], made["stopped"], made["config"]) == (3, "equivalence", ["loss:", "  prompt_weight: 1"])
    assert [trial["tokens_per_answer"] for trial in made["trials"]] == [4.5] * 3
    assert [(trial["prompt_weight"], trial["seed"]) for trial in made["trials"]] == [(w, 42) for w in WEIGHTS]
    assert [row["prompt_weight"] for row in made["expected"]] == list(WEIGHTS)


def test_a_search_that_is_not_clear_trains_further_seeds_until_its_budget(make_cell: MakeCell) -> None:
    said, requested = io.StringIO(), []

    def train(requests: list[TrialRequest]) -> list[Any]:
        requested.extend(requests)
        return [make_cell(one.weight, 0.3 + 0.1 * one.weight, seed=42 + one.repeat) for one in requests]

    line = SearchLine(name="")
    search(
        [line], WeightChooser(weights=WEIGHTS, budget=5, margin=1e-6, narrow=1e-9), train, Console(file=said, width=200)
    )
    assert len(requested) == len(line.cells) == 5
    assert len({(one.weight, one.repeat) for one in requested}) == 5
    lines = said.getvalue().splitlines()
    assert lines[0].startswith("3 of 5 cells at most, ")
    assert "; next " in lines[0]
    assert lines[-1].endswith("; stop (budget)")


def test_where_all_came_out_alike_the_round_says_so(make_cell: MakeCell) -> None:
    said, line = io.StringIO(), SearchLine(name="")
    search(
        [line], WeightChooser(weights=WEIGHTS), lambda requests: [make_cell(one.weight, 0.5) for one in requests],
        Console(file=said, width=200),
    )  # fmt: skip
    assert said.getvalue().endswith("(± 0.0); all alike; stop (alike)\n")
    made = line.found()
    assert (made["best"], made["regret_bound"], made["config"]) == (None, None, [])


@pytest.mark.parametrize(
    ("payload", "change"),
    [
        ({"recipe": "other"}, "recipe: mini -> other"),
        ({"loss": {"prompt_weight": 1.0, "scope": "micro"}}, "loss.scope: batch -> micro"),
    ],
)
def test_cells_of_another_training_are_no_points_of_the_curve(
    make_cell: MakeCell, payload: dict[str, Any], change: str
) -> None:
    """Weight and seed may differ, and nothing else."""
    line = SearchLine(name="")
    cells = [make_cell(0.0, 0.5), make_cell(1.0, 0.6, seed=43)]
    line.add(cells, WeightChooser(weights=WEIGHTS))
    with pytest.raises(StageError, match="what it is trained on has changed since the search began") as refused:
        SearchLine(name="").add([cells[0], make_cell(1.0, 0.6, line="b", **payload)], WeightChooser())
    assert str(refused.value).startswith("b p1 s42: ")
    assert change in str(refused.value)


def test_a_cell_that_is_not_finished_after_its_round_is_another_by_now(make_cell: MakeCell) -> None:
    cells = [make_cell(0.0, 0.5), make_cell(1.0, 0.5)]
    check_finished(cells)
    cells[1].is_finished = False
    with pytest.raises(StageError, match=r"^ p1 s42: what it is trained on has changed"):
        check_finished(cells)


def test_without_a_headline_score_there_is_nothing_to_choose_by(make_cell: MakeCell) -> None:
    cell = make_cell(0.0, 0.5)
    cell.config.stages = ["train", "generate"]
    with pytest.raises(UserError, match="suite quiz has no headline score to choose a weight by"):
        trial_scores([cell])
    assert answer_length(cell) == 4.5
    cell.config.stages = ["train"]
    assert answer_length(cell) is None
