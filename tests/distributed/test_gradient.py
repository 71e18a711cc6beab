"""A step's gradient in two processes is the one of a single process, however the model is spread."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from plw.train.distribute import ALONE
from tests.distributed.processes import run_processes
from tests.distributed.work import gradient

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WORK = "tests.distributed.work"


@pytest.fixture(scope="module")
def tied_llama(tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path_factory: Any) -> Path:
    """Embedding and head are one tensor."""
    from transformers import AutoConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tied")
    config = AutoConfig.from_pretrained(tiny_llama)
    config.tie_word_embeddings = True
    config.num_key_value_heads = 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


def distance(left: Path, right: Path) -> float:
    from safetensors.torch import load_file

    one, other = load_file(left), load_file(right)
    assert one.keys() == other.keys()
    flat = [torch.cat([tensors[name].flatten() for name in sorted(one)]) for tensors in (one, other)]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


@pytest.mark.parametrize(
    ("tied", "fields"),
    [
        (False, {"sharding": "ddp"}),
        (True, {"sharding": "fsdp", "layout": "packed"}),
        (True, {"sharding": "ddp", "layout": "packed", "gradient_checkpointing": True}),
        (False, {"sharding": "fsdp", "gradient_checkpointing": True}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_two_processes_have_the_gradient_of_one(
    tiny_llama: Path, tied_llama: Path, tmp_path: Path, tied: bool, fields: dict[str, Any]
) -> None:
    model = str(tied_llama if tied else tiny_llama)
    alone = gradient(ALONE, model=model, file=str(tmp_path / "alone.safetensors"))
    both = run_processes(
        WORK, "gradient", tmp_path / "two", model=model, file=str(tmp_path / "two.safetensors"), **fields
    )
    assert distance(tmp_path / "two.safetensors", tmp_path / "alone.safetensors") < 1e-5
    for result in both:
        for name in ("loss", "completion", "penalty", "norm"):
            assert result[name] == pytest.approx(alone[name], rel=1e-5)
        assert len({len(parts) for parts in result["turns"]}) == 1


def test_a_process_without_an_example_takes_part(tiny_llama: Path, tmp_path: Path) -> None:
    """Three examples, one of which no token counts in, in three processes: one of them has nothing."""
    fields = {"model": str(tiny_llama), "count": 3, "recipe": {}}
    alone = gradient(ALONE, file=str(tmp_path / "alone.safetensors"), **fields)
    spread = run_processes(
        WORK, "gradient", tmp_path / "out", processes=3, file=str(tmp_path / "three.safetensors"), **fields
    )
    assert distance(tmp_path / "three.safetensors", tmp_path / "alone.safetensors") < 1e-5
    assert spread[0]["loss"] == pytest.approx(alone["loss"], rel=1e-6)


def test_mixed_precision_gathers_what_autocast_would_make(tiny_llama: Path, tmp_path: Path) -> None:
    fields = {"model": str(tiny_llama), "recipe": {"precision": "bf16-mixed"}}
    alone = gradient(ALONE, file=str(tmp_path / "alone.safetensors"), **fields)
    (first, _) = run_processes(
        WORK, "gradient", tmp_path / "out", file=str(tmp_path / "two.safetensors"), sharding="fsdp", **fields
    )
    # Rows of a micro-batch are others, so bf16 products round differently; fp32 and bf16 are 1e-2 apart.
    assert distance(tmp_path / "two.safetensors", tmp_path / "alone.safetensors") < 5e-3
    assert first["loss"] == pytest.approx(alone["loss"], rel=1e-4)
