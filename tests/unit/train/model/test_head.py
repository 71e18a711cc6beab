"""Heads that cap or scale their logits train on transformers' own loss; a head that does anything else is refused."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from plw.config.loss import LossConfig
from plw.config.training import RecipeConfig
from plw.data.encoding import EncodedExample
from plw.errors import UserError
from plw.testing.models import SIZES, make_model
from plw.train.batching.plan import plan_training
from plw.train.model.load import load_model
from plw.train.model.weighted import WeightedModel, accumulate_gradients

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FAMILIES: dict[str, dict[str, Any]] = {
    "Gemma2": {"final_logit_softcapping": 3.0},
    "Cohere": {"logit_scale": 0.0625},
    "Granite": {"logits_scaling": 8.0},
}


def save_model_of(family: str, folder: Path, **fields: Any) -> str:
    return str(make_model(folder, family, **SIZES, **fields))


def make_examples() -> list[EncodedExample]:
    dice = np.random.default_rng(0)
    return [
        EncodedExample(
            token_T=dice.integers(3, 400, length).astype(np.int32),
            role_T=(np.arange(length) >= prompt).astype(np.uint8),
        )
        for length, prompt in [(9, 4), (14, 10), (17, 3)]
    ]


@pytest.mark.parametrize("prompt_weight", [0.0, 1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_is_that_of_transformers_own_loss(
    family: str, prompt_weight: float, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    loaded = load_model(save_model_of(family, tmp_path, **FAMILIES[family]), tiny_tokenizer)
    assert loaded.head_options
    examples = make_examples()
    recipe = RecipeConfig(name="r", epochs=1, batch_size=len(examples))
    (step,) = plan_training(examples, LossConfig(prompt_weight=prompt_weight), recipe, seed=0, token_budget=40).steps
    losses, _ = accumulate_gradients(WeightedModel(loaded), examples, step, device=torch.device("cpu"))
    ours = {name: parameter.grad.clone() for name, parameter in loaded.model.named_parameters()}

    loaded.model.zero_grad()
    token_BT, label_BT = torch.full((3, 17), 2), torch.full((3, 17), -100)
    for b, example in enumerate(examples):
        token_BT[b, : len(example.token_T)] = label_BT[b, : len(example.token_T)] = torch.from_numpy(example.token_T)
        if prompt_weight == 0:
            label_BT[b, : len(example.token_T)][torch.from_numpy(example.role_T == 0)] = -100
    expected = loaded.model(input_ids=token_BT, attention_mask=(label_BT != -2).long(), labels=label_BT).loss
    expected.backward()
    assert losses.loss == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in loaded.model.named_parameters():
        assert (ours[name] - parameter.grad).norm() <= 1e-5 * parameter.grad.norm(), name


@pytest.mark.parametrize(("family", "field"), [("HyperCLOVAX", "logits_scaling"), ("Mpt", "logit_scale")])
def test_a_field_that_means_something_else_there_is_refused(
    family: str, field: str, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """HyperCLOVA X multiplies by the field that Granite divides by; MPT has Cohere's field and does not read it."""
    import transformers

    if not hasattr(transformers, f"{family}ForCausalLM"):
        pytest.skip(f"this transformers has no {family}")
    with pytest.raises(UserError, match=rf"the logits of {family}ForCausalLM are not its head's output"):
        load_model(save_model_of(family, tmp_path / "scaled", **{field: 0.5}), tiny_tokenizer)
    load_model(save_model_of(family, tmp_path / "plain", **{field: 1.0}), tiny_tokenizer)


def test_weights_that_are_no_numbers_are_told_by_name(
    tiny_tokenizer: "PreTrainedTokenizerBase", tiny_llama: Path, tmp_path: Path
) -> None:
    """A checkpoint of a run that diverged; it was said that the head is of an unknown kind."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_llama, tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"the weights hold numbers that are not finite \(model.norm.weight\)"):
        load_model(str(folder), tiny_tokenizer)


def test_a_model_whose_decoder_is_not_named_is_refused(
    tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """What transformers calls its decoder has logits for output."""
    from transformers import Llama4ForCausalLM, Llama4TextConfig

    torch.manual_seed(0)
    Llama4ForCausalLM(Llama4TextConfig(**SIZES, num_local_experts=2)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="Llama4ForCausalLM"):
        load_model(str(tmp_path), tiny_tokenizer)
