"""Regularisers of the recipe: each does what its formula says, and is off by default."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from plw.config.loss import LossConfig
from plw.config.training import RecipeConfig
from plw.errors import UserError
from plw.testing.jobs import with_fields
from plw.train.model.load import load_model
from plw.train.regularise import MinkowskiPenalty
from plw.train.trainer import train
from tests.distributed.work import make_job

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def rows_of(folder: Path) -> list[dict[str, Any]]:
    from plw.train.log import logged_steps

    return logged_steps(folder / "log.jsonl")


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_the_penalty_and_its_gradient_are_autograds(p: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, bias=False))
    base = [parameter.detach().clone() for parameter in model.parameters()]
    penalty = MinkowskiPenalty(model, p=p, factor=0.7)
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter).where(torch.rand_like(parameter) > 0.3, 0.0)
    expected = 0.7 * sum(((w - b).abs() ** p).sum() for w, b in zip(model.parameters(), base, strict=True))
    assert isinstance(expected, torch.Tensor)
    slopes = torch.autograd.grad(expected, list(model.parameters()))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert penalty.add_gradient() == pytest.approx(expected.item(), rel=1e-6)
    for parameter, slope in zip(model.parameters(), slopes, strict=True):
        torch.testing.assert_close(parameter.grad, 1 + slope)


def distance(folder: Path, base: Path) -> float:
    from safetensors.torch import load_file

    one, other = load_file(folder / "model/model.safetensors"), load_file(base / "model.safetensors")
    return sum(float((one[name] - other[name]).square().sum()) for name in other)


def test_a_penalised_run_stays_nearer_and_says_so(tiny_llama: Path, tmp_path: Path) -> None:
    far = make_job(tiny_llama, tmp_path / "far", {"epochs": 6})
    near = make_job(tiny_llama, tmp_path / "near", {"epochs": 6, "minkowski_weight": 1.0})
    train(far)
    train(near)
    assert distance(tmp_path / "near", tiny_llama) < 0.8 * distance(tmp_path / "far", tiny_llama)
    assert {row["penalty"] for row in rows_of(tmp_path / "far")} == {None}
    penalties = [row["penalty"] for row in rows_of(tmp_path / "near")]
    assert penalties[0] == 0
    assert penalties[-1] > 0


def test_label_smoothing_is_in_the_loss_and_not_in_the_reported_cross_entropy(tiny_llama: Path, tmp_path: Path) -> None:
    loss = LossConfig(prompt_weight=1.0)
    train(make_job(tiny_llama, tmp_path / "plain", {"warmup_ratio": 1.0, "epochs": 1, "batch_size": 8}, loss=loss))
    smooth = {"warmup_ratio": 1.0, "epochs": 1, "batch_size": 8, "label_smoothing": 0.1}
    train(make_job(tiny_llama, tmp_path / "smooth", smooth, loss=loss))
    (plain,), (smoothed,) = rows_of(tmp_path / "plain"), rows_of(tmp_path / "smooth")
    assert smoothed["completion_loss"] == pytest.approx(plain["completion_loss"], rel=1e-6)
    assert smoothed["loss"] != pytest.approx(plain["loss"], rel=1e-6)
    assert smoothed["loss"] == pytest.approx(plain["loss"], rel=0.05)


def test_dropout_is_set_while_training_and_put_back(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig

    job = make_job(tiny_llama, tmp_path / "dropped", {"dropout": 0.3})
    train(job)
    train(make_job(tiny_llama, tmp_path / "plain"))
    assert AutoConfig.from_pretrained(tmp_path / "dropped/model").attention_dropout == 0
    dropped, plain = rows_of(tmp_path / "dropped"), rows_of(tmp_path / "plain")
    assert dropped[0]["loss"] != plain[0]["loss"]
    loaded = load_model(str(tiny_llama), job.tokenizer, dropout=0.3)
    assert loaded.model.model.layers[0].self_attn.attention_dropout == 0.3


def test_a_model_without_dropout_says_what_it_has(tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=400, hidden_size=16, num_hidden_layers=1, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"recipe\.dropout=0\.1: .* mamba"):
        load_model(str(tmp_path), tiny_tokenizer, dropout=0.1)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16"])
def test_bf16_trains_near_fp32(tiny_llama: Path, tmp_path: Path, precision: str) -> None:
    train(make_job(tiny_llama, tmp_path / "fp32"))
    train(make_job(tiny_llama, tmp_path / precision, {"precision": precision}))
    rows = list(zip(rows_of(tmp_path / precision), rows_of(tmp_path / "fp32"), strict=True))
    assert all(row["loss"] == pytest.approx(other["loss"], rel=0.02) for row, other in rows)
    assert all(row["grad_norm"] != other["grad_norm"] for row, other in rows)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    trained = load_weights(tmp_path / precision / "model")
    assert {tensor.dtype for tensor in trained.values()} == {dtype}


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_layers_that_are_computed_again_change_rounding_alone(tiny_llama: Path, tmp_path: Path) -> None:
    train(make_job(tiny_llama, tmp_path / "plain"))
    train(make_job(tiny_llama, tmp_path / "again", gradient_checkpointing=True))
    for row, other in zip(rows_of(tmp_path / "again"), rows_of(tmp_path / "plain"), strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert row["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)


def test_lora_trains_an_update_and_leaves_a_plain_model(tiny_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    recipe = {"lora_rank": 2, "lora_targets": ["q_proj", "down_proj"], "epochs": 3}
    job = make_job(tiny_llama, tmp_path / "run", recipe, checkpoint_seconds=1e-9)

    def stop(row: dict[str, Any]) -> None:
        if row["step"] == 4:
            raise KeyboardInterrupt

    once = dataclasses.replace(job, folder=tmp_path / "once")
    train(once)
    with pytest.raises(KeyboardInterrupt):
        train(job, on_step=stop)
    summary = train(job)
    before, after = load_weights(tiny_llama), load_weights(tmp_path / "run/model")
    assert all(torch.equal(after[name], tensor) for name, tensor in load_weights(tmp_path / "once/model").items())
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "q_proj" in name or "down_proj" in name}
    for name in changed:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) <= 2
    update = sum(2 * sum(before[name].shape) for name in changed)
    assert summary.parameters == sum(tensor.numel() for tensor in before.values()) + update, "counted as it was trained"
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path / "run/model")).__name__ == "LlamaForCausalLM"


def test_loras_mistakes_are_one_line(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    with pytest.raises(UserError, match=r"lora_targets: wrong names no layer; linear layers here: down_proj"):
        train(make_job(tiny_llama, tmp_path, {"lora_rank": 2, "lora_targets": ["wrong"]}))
    with pytest.raises(UserError, match="names the head, which stays frozen"):
        train(make_job(tiny_llama, tmp_path, {"lora_rank": 2, "lora_targets": ["lm_head"]}))
    with pytest.raises(UserError, match=r"minkowski_weight=1 does not go with recipe.lora_rank=2"):
        RecipeConfig(name="r", lora_rank=2, minkowski_weight=1.0)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"needs peft, which is not installed; pip install 'plw\[lora\]'"):
        train(make_job(tiny_llama, tmp_path, {"lora_rank": 2}))


def test_losses_on_held_out_examples_stand_in_their_rows(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    job = make_job(tiny_llama, tmp_path / "run", {"epochs": 3, "dropout": 0.2}, evaluate_every=4)
    job = dataclasses.replace(job, examples=job.examples[:6], held_out=job.examples[6:])
    train(job)
    train(with_fields(job, folder=tmp_path / "packed", layout="packed"))
    rows, packed = rows_of(tmp_path / "run"), rows_of(tmp_path / "packed")
    names = ("held_out_prompt_loss", "held_out_completion_loss")
    assert [row["step"] for row in rows if row[names[0]] is not None] == [4, 6]
    assert all((row[names[0]] is None) == (row[names[1]] is None) for row in rows)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run/model").eval()
    sums = {0: [0.0, 0], 1: [0.0, 0]}
    for example in job.held_out:
        token_T = torch.from_numpy(example.token_T).long()
        with torch.no_grad():
            loss_T = torch.nn.functional.cross_entropy(
                model(token_T[None]).logits[0, :-1], token_T[1:], reduction="none"
            )
        for role in (0, 1):
            of_role = torch.from_numpy(example.role_T[1:] == role)
            sums[role][0] += float(loss_T[of_role].sum())
            sums[role][1] += int(of_role.sum())
    for role, name in enumerate(names):
        assert rows[-1][name] == pytest.approx(sums[role][0] / sums[role][1], rel=1e-5)
    # Dropout draws differ between layouts, so only the shape of the packed log is the same.
    assert [row[names[0]] is None for row in packed] == [row[names[0]] is None for row in rows]
