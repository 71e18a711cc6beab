"""What changes a result changes its fingerprint, what does not leaves it, and later stages rest on earlier ones."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from plw.config.compose import register_schema, typed
from plw.errors import UserError
from plw.paths import conf_folder, judge_prompt_folder
from plw.pipeline import Cell, resolve_cell

Plan = Callable[..., Cell]


@contextmanager
def planner(folder: Path, model: Path) -> Iterator[Plan]:
    """Plans the cell of a small local model and a file of two records, both in a folder."""
    register_schema()
    data = folder / "data.json"
    data.write_text(json.dumps([{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]))
    shutil.copytree(model, folder / "model")
    base = [
        "model=folder", "model.name=m", f"model.path={folder}/model", "dataset=file", "dataset.name=d",
        f"dataset.path={data}", f"execution.runs={folder}/runs",
    ]  # fmt: skip
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield lambda *overrides: resolve_cell(typed(compose("config", overrides=[*base, *overrides])))


@pytest.fixture
def plan(tmp_path: Path, tiny_llama: Path) -> Iterator[Plan]:
    with planner(tmp_path, tiny_llama) as found:
        yield found


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> dict[str, str]:
    """Fingerprints of the cell as it is, in another folder."""
    with planner(tmp_path_factory.mktemp("usual"), tiny_llama) as found:
        return fingerprints(found())


def fingerprints(cell: Cell) -> dict[str, str]:
    return {kind: stage.fingerprint for kind, stage in cell.stages.items()}


@pytest.mark.parametrize(
    "override",
    [
        "execution.threads=2", "execution.token_budget=64", "execution.workers=3", "execution.device=cpu",
        "registry.url=sqlite:///other.sqlite", "tracker=none", "suite.batch_size=2", "judge.concurrency=9",
        "suite.backend=hf", "suite.dtype=float32", "model.parameters=5", "suite.tasks.arc.documents=3",
        "execution.cost.price=9",
        "dataset.name=other", "model.name=other", "recipe.name=other", "loss.prompt_weight=0.0", "stages=[train]",
    ],
)  # fmt: skip
def test_execution_and_names_leave_every_fingerprint(usual: dict[str, str], plan: Plan, override: str) -> None:
    assert fingerprints(plan(override)) == usual


@pytest.mark.parametrize(
    "override",
    [
        "loss.prompt_weight=0.1", "loss.normalizer=weights", "loss.scope=example", "recipe.epochs=1", "seed=7",
        "recipe.learning_rate=1e-3", "dataset.limit=1", "dataset.inversion=short", "template=plain",
    ],
)  # fmt: skip
def test_what_changes_the_training_changes_every_stage(usual: dict[str, str], plan: Plan, override: str) -> None:
    after = fingerprints(plan(override))
    assert all(usual[kind] != after[kind] for kind in usual)


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("suite.limit=5", {"harness"}),
        ("suite.tasks.arc.shots=3", {"harness"}),
        ("suite.decoding.max_new_tokens=9", {"generate", "judge"}),
        ("suite.diagnostics.loss_window=7", {"diagnose"}),
        ("suite.dtype=bfloat16", {"diagnose", "harness", "generate", "judge"}),
        ("suite.backend=vllm", {"harness", "generate", "judge"}),
        ("judge.max_tokens=7", {"judge"}),
        ("world.seed=1", {"harness", "generate", "judge"}),
    ],
)
def test_a_later_stages_choice_leaves_the_earlier(
    usual: dict[str, str], plan: Plan, override: str, changed: set[str]
) -> None:
    after = fingerprints(plan(override))
    assert {kind for kind in usual if usual[kind] != after[kind]} == changed


def test_content_counts_and_not_the_place(plan: Plan, tmp_path: Path) -> None:
    before = fingerprints(plan())
    shutil.copy(tmp_path / "data.json", tmp_path / "same.json")
    assert fingerprints(plan(f"dataset.path={tmp_path}/same.json")) == before
    (tmp_path / "same.json").write_text(json.dumps([{"instruction": "other", "output": "b"}]))
    assert fingerprints(plan(f"dataset.path={tmp_path}/same.json"))["train"] != before["train"]


def test_other_weights_are_another_model(plan: Plan, tmp_path: Path) -> None:
    before = plan().fingerprint
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert plan().fingerprint != before


def test_folders_are_readable_and_differ(plan: Plan, tmp_path: Path) -> None:
    cell = plan("loss.prompt_weight=0.1")
    assert cell.folder == tmp_path / "runs/plw-mini/d/m" / f"p0.1-r1-s42-{cell.fingerprint[:8]}"
    assert cell.stages["judge"].folder.name == "judge-world-world"
    assert plan("loss.prompt_weight=0.2").folder != cell.folder


def test_planning_writes_nothing(plan: Plan, tmp_path: Path) -> None:
    plan()
    assert not (tmp_path / "runs").exists()


def test_an_unknown_evaluator_is_named(plan: Plan) -> None:
    with pytest.raises(UserError, match=r"judge\.evaluator=nosuch.*pairwise"):
        plan("judge.evaluator=nosuch")
    with pytest.raises(UserError, match=r"judge\.evaluator=\./nosuch: no such folder"):
        plan("judge.evaluator=./nosuch")


def test_an_evaluator_of_ones_own_is_known_by_its_name_and_files(plan: Plan, tmp_path: Path) -> None:
    def made(folder: Path, text: str) -> str:
        shutil.copytree(judge_prompt_folder() / "pairwise", folder)
        with next(folder.glob("*.txt")).open("a") as file:
            file.write(text)
        return plan(f"judge.evaluator={folder}").stages["judge"].fingerprint

    here, there, changed, other = (
        made(tmp_path / place, text)
        for place, text in (("a/mine", ""), ("b/mine", ""), ("c/mine", "More."), ("a/theirs", ""))
    )
    assert here == there
    assert len({here, changed, other, plan("judge.evaluator=pairwise").stages["judge"].fingerprint}) == 4


def test_a_repetition_has_a_seed_of_its_own_also_behind_the_largest(plan: Plan) -> None:
    largest = plan("seed=4294967295").config
    seeds = [largest.repeated_seed(number) for number in range(3)]
    assert seeds == [4294967295, 0, 1]
    assert [plan(f"seed={seed}").config.seed for seed in seeds] == seeds
