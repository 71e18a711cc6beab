"""Whether a training can begin is known before the first cell: what its plan would refuse is refused there."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from plw.config import CellConfig
from plw.errors import UserError
from plw.pipeline import JudgeCache, resolve_cell
from plw.pipeline.context import CellContext
from plw.pipeline.training_check import check_trainings
from plw.sweep.grid import prepare_grid
from plw.sweep.plan import print_plan
from plw.train.batching.plan import plan_training
from tests.unit.pipeline.conftest import OwnStudy, run

SCREEN = Console(quiet=True)


def uneven_records(rng: np.random.Generator) -> list[dict[str, object]]:
    """Prompts and answers of very different lengths, some records without weight."""
    words = [int(number) for number in rng.integers(1, 60, size=2 * 12)]
    return [
        {
            "instruction": "say " * prompt,
            "input": "",
            "output": "yes " * answer,
            "weight": float(rng.random() < 0.7),
        }
        for prompt, answer in zip(words[::2], words[1::2], strict=True)
    ]


def at_random(config: CellConfig, rng: np.random.Generator) -> CellConfig:
    """The cell with some of what decides whether its plan can be made."""
    normalizer = rng.choice(["nonzero", "weights", "completion"])
    return dataclasses.replace(
        config,
        seed=int(rng.integers(100)),
        loss=dataclasses.replace(
            config.loss,
            prompt_weight=float(rng.choice([0.0, 0.0, 0.1])),
            normalizer=str(normalizer),
            scope=str(rng.choice(["batch", "micro", "example"])),
            virtual_micro_batch=2,
        ),
        recipe=dataclasses.replace(
            config.recipe,
            epochs=int(rng.integers(1, 4)),
            batch_size=int(rng.integers(1, 6)),
            max_length=int(rng.choice([2, 100, 150, 250, 512])),
        ),
        execution=dataclasses.replace(
            config.execution,
            token_budget=int(rng.choice([150, 300, 2048])),
            processes=int(rng.choice([1, 1, 2, 5])),
        ),
    )


def told_by_plan(config: CellConfig) -> str | None:
    """What the training's own plan says of all examples; None where it can be made."""
    with JudgeCache() as judges, CellContext(resolve_cell(config), lambda *_: None, judges) as context:
        examples = context.data.encoded
    try:
        plan_training(
            examples, config.loss, config.recipe, seed=config.seed,
            token_budget=config.execution.token_budget, processes=config.execution.processes,
        )  # fmt: skip
    except UserError as error:
        return str(error)
    return None


def told_beforehand(config: CellConfig) -> str | None:
    try:
        check_trainings([resolve_cell(config)])
    except UserError as error:
        return str(error)
    return None


def test_it_says_of_any_cell_what_its_plan_says(own_study: OwnStudy, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    said = []
    for _ in range(6):
        (tmp_path / "records.json").write_text(json.dumps(uneven_records(rng)))
        base = own_study("stages=[train]", "+dataset.columns.weight=weight")
        for config in (at_random(base, rng) for _ in range(15)):
            said.append(told_by_plan(config))
            assert told_beforehand(config) == said[-1], config
    kinds = ("none of the dataset", "an optimizer step has no token", "token_budget", "processes")
    assert all(any(line and words in line for line in said) for words in kinds)
    assert said.count(None) > 15


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("recipe.max_length=5", "loss.prompt_weight=0"), "their prompts fill recipe.max_length=5"),
        (("execution.token_budget=20",), "execution.token_budget=20 is smaller than the longest example"),
        (("execution.processes=9",), "execution.processes=9 is more than the 8 examples of an optimizer step"),
        (("execution.processes=2", "recipe.lora_rank=2"), "needs execution.sharding=ddp, found fsdp"),
    ],
)
def test_run_and_plan_tell_it_before_anything_begins(
    own_study: OwnStudy, tmp_path: Path, overrides: tuple[str, ...], words: str
) -> None:
    config = own_study("stages=[train]", *overrides)
    with pytest.raises(UserError, match=words):
        print_plan([config], SCREEN)
    with pytest.raises(UserError, match=words):
        prepare_grid([config], SCREEN)
    assert not list(tmp_path.rglob("payload.json"))


def test_pairs_for_fewer_than_all_processes_are_told(own_study: OwnStudy, tmp_path: Path) -> None:
    pairs = [{"instruction": f"Say {n}.", "input": "", "chosen": "Yes.", "rejected": "No."} for n in range(3)]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    asked = ("preference=file", "preference.name=p", f"preference.path={tmp_path}/pairs.json")
    config = own_study("stages=[train,preference]", *asked, "execution.processes=4")
    with pytest.raises(UserError, match="processes=4 is more than the 3 pairs of an optimizer step"):
        prepare_grid([config], SCREEN)


def test_a_finished_training_is_not_looked_at(own_study: OwnStudy) -> None:
    config = own_study("stages=[train]")
    assert run(config).stages["train"].status == "done"
    check_trainings([resolve_cell(dataclasses.replace(
        config, execution=dataclasses.replace(config.execution, token_budget=1)
    ))])  # fmt: skip


@pytest.mark.parametrize("broken", ['[{"instruction": "x"}]', '[{"instruction": "x", "output": ', "[]"])
def test_a_plan_tells_broken_data_as_a_run_does(own_study: OwnStudy, tmp_path: Path, broken: str) -> None:
    (tmp_path / "records.json").write_text(broken)
    config = own_study("stages=[train]")
    with pytest.raises(UserError) as by_run:
        prepare_grid([config], SCREEN)
    with pytest.raises(UserError) as by_plan:
        print_plan([config], SCREEN)
    assert str(by_plan.value) == str(by_run.value)


QUESTION = {"goal": "x", "sol1": "y", "sol2": "z", "label": 1}


@pytest.mark.parametrize(
    ("field", "broken", "words"),
    [
        ("suite.tasks.piqa.files.validation", '[{"goal": "x", "sol1": "y"', "row 1"),
        ("suite.tasks.piqa.files.validation", json.dumps([QUESTION, QUESTION | {"label": 7}]), "row 2 has the label 7"),
        ("suite.tasks.piqa.files.validation", json.dumps([QUESTION | {"label": 7}]), "see that each row, the first"),
        ("suite.tasks.piqa.files.validation", "[3]", "row 1 is a number"),
        ("suite.tasks.piqa.files.validation", "[]", "no rows"),
        ("suite.prompts.alpaca_eval.prompts", '[{"output": "x"}]', "row 1 has no text in field instruction"),
    ],
)
def test_a_plan_tells_broken_benchmarks_as_a_run_does(
    own_study: OwnStudy, tmp_path: Path, field: str, broken: str, words: str
) -> None:
    (tmp_path / "broken.json").write_text(broken)
    config = own_study("stages=[train,harness,generate]", f"{field}={tmp_path}/broken.json")
    with pytest.raises(UserError, match=words) as by_run:
        prepare_grid([config], SCREEN)
    with pytest.raises(UserError) as by_plan:
        print_plan([config], SCREEN)
    assert str(by_plan.value) == str(by_run.value)
    assert f"{tmp_path}/broken.json" in str(by_plan.value)
