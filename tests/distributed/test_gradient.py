"""A step's gradient in two processes is the one of a single process, however the model is spread."""

from pathlib import Path
from typing import Any

import pytest
import torch

from plw.launch.group import ALONE
from tests.distributed.processes import run_processes
from tests.distributed.work import gradients

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddp": ("plain", {"sharding": "ddp"}),
    "fsdp": ("plain", {"sharding": "fsdp"}),
    "fsdp-packed-tied": ("tied", {"sharding": "fsdp", "layout": "packed"}),
    "ddp-packed-tied": ("tied", {"sharding": "ddp", "layout": "packed"}),
    # At weight 0 the last layer leaves the prompts out.
    "fsdp-prefix-tied": ("tied", {"sharding": "fsdp", "layout": "prefix", "common_prefix": True, "weight": 0.0}),
    "ddp-prefix-checkpointing": (
        "plain",
        {"sharding": "ddp", "layout": "prefix", "common_prefix": True, "gradient_checkpointing": True, "weight": 0.0},
    ),
    "fsdp-checkpointing-tied": ("tied", {"sharding": "fsdp", "gradient_checkpointing": True, "weight": 0.0}),
    "ddp-checkpointing": ("plain", {"sharding": "ddp", "gradient_checkpointing": True}),
    # The second example has no token with weight, so one of the two processes has nothing to learn from.
    "ddp-empty": ("plain", {"sharding": "ddp", "rows": [1, 7], "weight": 0.0}),
    "fsdp-empty-tied": ("tied", {"sharding": "fsdp", "rows": [1, 7], "weight": 0.0}),
    "fsdp-prefix-empty": ("plain", {"layout": "prefix", "common_prefix": True, "rows": [1, 7], "weight": 0.0}),
    "ddp-prefix-factor": (
        "plain",
        {"sharding": "ddp", "layout": "prefix", "common_prefix": True, "factor": {"kind": "power"}},
    ),
    "fsdp-factor-tied": ("tied", {"sharding": "fsdp", "factor": {"kind": "entropy", "top": 20}}),
    "ddp-lora": ("plain", {"sharding": "ddp", "recipe": {"lora_rank": 2}, "weight": 0.0}),
    "fsdp-mixed": ("plain", {"sharding": "fsdp", "recipe": {"precision": "bf16-mixed"}}),
}
TOLERANCE = dict.fromkeys(CASES, 1e-5)
# Rows meet others in the matrix products, so bf16 rounds them differently.
TOLERANCE["fsdp-mixed"] = 1e-2

Results = tuple[Path, dict[str, Any], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def results(tiny_llama: Path, tied_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Every case alone and in two processes."""
    models = {"plain": str(tiny_llama), "tied": str(tied_llama)}
    cases = {name: {"model": models[kind], **fields} for name, (kind, fields) in CASES.items()}
    folder = tmp_path_factory.mktemp("gradients")
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    plain = {"layout": "padded", "gradient_checkpointing": False}
    alone = gradients(ALONE, folder=str(folder / "one"), cases={name: case | plain for name, case in cases.items()})
    both = run_processes("tests.distributed.work", "gradients", folder / "out", folder=str(folder / "two"), cases=cases)
    return folder, alone, both


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_gradient_of_one(results: Results, name: str) -> None:
    from safetensors.torch import load_file

    folder, alone, both = results
    one, two = (load_file(folder / where / f"{name}.safetensors") for where in ("one", "two"))
    assert one.keys() == two.keys()
    difference = torch.cat([(two[key] - one[key]).flatten() for key in one])
    assert difference.norm() < TOLERANCE[name] * torch.cat([one[key].flatten() for key in one]).norm()
    for result in both:
        assert result[name]["numbers"] == pytest.approx(alone[name]["numbers"], rel=TOLERANCE[name])
        turns = result[name]["turns"]
        assert len({len(parts) for parts in turns}) == 1
        assert any(0 in parts for parts in turns) == ("empty" in name)
