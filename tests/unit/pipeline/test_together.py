"""Answers and diagnostics over a cell's processes: those of one process, to the last digit."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from plw.config import CellConfig
from plw.config.compose import register_schema
from plw.config.plain import from_plain
from plw.evaluate.models.hf import EvalModel, generate
from plw.evaluate.models.likelihood import greedy_responses, log_likelihoods
from plw.launch.group import Group
from plw.paths import RECORD
from plw.pipeline import resolve_cell
from plw.pipeline.context import SHARES
from plw.results.items import ITEMS
from tests.unit.pipeline.conftest import OwnStudy, run

PROMPTS = [
    "Name three colours",
    "The capital of France is",
    "Give me the sum of 12 and 30.",
    "A",
    "warm river",
    "It is",
]
PAIRS = [((5, 6, 7), (8, 9)), ((5, 6), (8,)), ((4, 4, 4, 4), (3, 2, 1)), ((9,), (9,)), ((5, 6, 7), (8, 9)), ((1,), ())]


def with_wordings(folder: Path) -> str:
    """Asks for prompt sensitivity."""
    word = f"suite.sensitivity.prompts={folder}/prompts.json"
    register_schema([word])
    return word


@pytest.mark.slow
def test_two_processes_leave_what_one_leaves(
    own_study: OwnStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    config = own_study(
        "stages=[train]", "execution.threads=1", "execution.device=cpu", "suite.batch_size=1",
        "suite.decoding.temperature=0.9", with_wordings(tmp_path),
    )  # fmt: skip
    assert run(config).stages["train"].status == "done"
    shutil.copytree(tmp_path / "runs", tmp_path / "two")
    one = replace(config, stages=["diagnose", "generate"])
    two = replace(
        one,
        execution=replace(config.execution, processes=2, runs=str(tmp_path / "two")),
        registry=replace(config.registry, url=f"sqlite:///{tmp_path}/two/registry.sqlite"),
    )
    for either in (one, two):
        assert {stage.status for stage in run(either).stages.values()} == {"done"}
    for kind in one.stages:
        alone, together = (resolve_cell(either).stages[kind].folder for either in (one, two))
        records = [json.loads((folder / RECORD).read_text()) for folder in (alone, together)]
        assert records[0]["scores"] == records[1]["scores"]
        assert (alone / ITEMS).read_bytes() == (together / ITEMS).read_bytes()
        assert {path.name for path in alone.iterdir()} == {path.name for path in together.iterdir()}
        assert not (together / SHARES).exists()
    assert (alone / "alpaca_eval.json").read_bytes() == (together / "alpaca_eval.json").read_bytes()


@dataclass(frozen=True, kw_only=True)
class _Alone(Group):
    """One of several processes, which never hears of the others: it keeps what it would tell them."""

    told: list[dict[Any, Any]] = field(default_factory=list)

    def all_gather_object(self, value: Any) -> list[Any]:
        self.told.append(value)
        raise _ToldError


class _ToldError(Exception):
    pass


@pytest.mark.parametrize(
    ("work", "different"),
    [
        (lambda model: generate(model, PROMPTS, max_new_tokens=5, batch_size=2), 6),
        (lambda model: generate(model, PROMPTS, max_new_tokens=5, batch_size=2, temperature=0.9, seed=3), 6),
        (lambda model: greedy_responses(model, PROMPTS, max_new_tokens=5, batch_size=2), 6),
        (lambda model: log_likelihoods(model, PAIRS, batch_size=1), 4),
    ],
    ids=["greedy", "sampled", "responses", "likelihoods"],
)
def test_the_shares_of_three_processes_are_the_work_of_one(
    work: Callable[[EvalModel], list[Any]], different: int, tiny_llama: Path
) -> None:
    model = EvalModel.load(tiny_llama)
    shares = []
    for rank in range(3):
        group = _Alone(rank=rank, size=3)
        with pytest.raises(_ToldError):
            work(replace(model, group=group))
        shares += group.told
    found = {place: one for share in shares for place, one in share.items()}
    assert len(found) == sum(map(len, shares)) == different, "nothing is computed twice"
    assert min(map(len, shares)) > 0
    alone = work(model)
    by_place = {pair: alone[place] for place, pair in enumerate(PAIRS) if pair[1]}
    assert found == (by_place if isinstance(alone[0], float) else dict(enumerate(alone)))


def test_a_config_travels_to_the_processes(own_study: OwnStudy, tmp_path: Path) -> None:
    config = own_study(with_wordings(tmp_path), "loss.roles.system=0.5")
    assert config.suite.sensitivity is not None
    assert from_plain(CellConfig, json.loads(json.dumps(asdict(config)))) == config
