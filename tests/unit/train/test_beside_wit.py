"""The template `wit` and weight decay on all parameters beside WIT's own trainers: the losses of every step."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml

from plw.config import DatasetConfig, LossConfig, RecipeConfig, TemplateConfig
from plw.config.loss import ROLES
from plw.data.encoding import encode
from plw.data.prepare import prepare
from plw.data.template import Segment
from plw.paths import conf_folder
from plw.testing.jobs import training_job
from plw.testing.models import make_random_llama
from plw.train.log import logged_steps
from plw.train.trainer import train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from plw.data.encoding import EncodedExample

SEED = 23
MARKER = "###eos_token###"
PLAIN = "no_fsdp"


def wit_template() -> TemplateConfig:
    return TemplateConfig(**yaml.safe_load((conf_folder() / "template/wit.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads((shared_data / "reference/wit/losses.json").read_text())["runs"]
    return runs


@pytest.fixture(scope="module")
def examples(
    shared_data: Path, llama_tokenizer: "PreTrainedTokenizerBase", tmp_path_factory: pytest.TempPathFactory
) -> "list[EncodedExample]":
    """The reference's sixty records, each response ended by the marker."""
    rows = json.loads((shared_data / "alpaca/alpaca_cleaned_999.json").read_text())[:200]
    kept = [row for row in rows if 40 < len(row["output"]) < 500][:60]
    path = tmp_path_factory.mktemp("wit") / "records.json"
    path.write_text(json.dumps([{**row, "output": row["output"].strip() + MARKER} for row in kept]))
    dataset = DatasetConfig(name="d", path=str(path))
    return prepare(dataset, path, wit_template(), llama_tokenizer, max_length=512, seed=SEED).encoded


@pytest.fixture(scope="module")
def model(llama_tokenizer: "PreTrainedTokenizerBase", tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_random_llama(tmp_path_factory.mktemp("wit-model") / "model", llama_tokenizer)


def losses(
    model: Path,
    tokenizer: "PreTrainedTokenizerBase",
    examples: "list[EncodedExample]",
    folder: Path,
    run: dict[str, Any],
    **fields: Any,
) -> list[float]:
    recipe = RecipeConfig(
        name="r", epochs=2, batch_size=16, learning_rate=1e-3, warmup_ratio=0.25, weight_decay=run["weight_decay"],
        decay="all", clip_norm=None, max_length=512,
    )  # fmt: skip
    loss = LossConfig(prompt_weight=run["prompt_weight"], response_weight=run["response_weight"])
    about = {"examples": examples, "loss": loss, "recipe": recipe, "seed": SEED, "pad": "eos", "threads": 1}
    train(training_job(model, tokenizer, folder, **about, **fields))
    return [row["loss"] for row in logged_steps(folder / "log.jsonl")]


@pytest.mark.parametrize(
    ("weights", "layout"),
    [
        pytest.param((0.0, 1.0), "auto", marks=pytest.mark.slow),
        ((0.2, 0.8), "padded"),
        pytest.param((1.0, 1.0), "auto", marks=pytest.mark.slow),
    ],
)
def test_the_losses_are_those_of_wits_trainer(
    reference: list[dict[str, Any]],
    examples: "list[EncodedExample]",
    model: Path,
    llama_tokenizer: "PreTrainedTokenizerBase",
    tmp_path: Path,
    weights: tuple[float, float],
    layout: str,
) -> None:
    """The trainer without FSDP; that with it counts the first token of each example in Z where it has weight."""
    (run,) = (
        run
        for run in reference
        if (run["prompt_weight"], run["response_weight"]) == weights and run["weight_decay"] and run["trainer"] == PLAIN
    )
    found = losses(model, llama_tokenizer, examples, tmp_path, run, layout=layout)
    assert found == pytest.approx(run["loss"], rel=1e-6)


def test_decay_on_all_parameters_pulls_on_norm_weights_too(model: Path) -> None:
    from transformers import AutoModelForCausalLM

    from plw.train.optimizer import make_optimizer

    made = AutoModelForCausalLM.from_pretrained(model)
    (group,) = make_optimizer(made, RecipeConfig(name="r", weight_decay=0.1, decay="all")).param_groups
    assert group["weight_decay"] == 0.1
    assert len(group["params"]) == len(list(made.parameters()))


def weights_of(folder: Path) -> torch.Tensor:
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    return torch.cat([tensors[name].double().flatten() for name in sorted(tensors)])


SENTENCE = "Name three colours and say which of them is warm because the river there is the Seine"


def trained(
    model: Path, tokenizer: "PreTrainedTokenizerBase", folder: Path, weights: tuple[float, float], **fields: Any
) -> tuple[torch.Tensor, list[float]]:
    """The weights after fifty steps, and the gradients' norms."""
    words = SENTENCE.split(" ")
    texts = [
        [
            Segment("prompt", " ".join(words[n % 7 : n % 7 + 5])),
            Segment("completion", " ".join(words[n % 5 : n % 5 + 9])),
        ]
        for n in range(16)
    ]
    examples = encode(texts, tokenizer, max_length=96).examples
    recipe = RecipeConfig(**{"name": "r", "epochs": 25, "batch_size": 8, "learning_rate": 1e-3, **fields})
    loss = LossConfig(prompt_weight=weights[0], response_weight=weights[1])
    train(training_job(model, tokenizer, folder, examples=examples, loss=loss, recipe=recipe, seed=1))
    return weights_of(folder / "model"), [row["grad_norm"] for row in logged_steps(folder / "log.jsonl")]


def steps_of(
    weights: tuple[float, float], normalizer: str = "nonzero", *, sgd: bool = False, clip: float | None = None
) -> torch.Tensor:
    """An embedding and a head after fifty steps on the engine's loss by an optimizer of torch, fp32."""
    from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy
    from plw.testing.coefficients import step_coefficients

    generator = torch.Generator().manual_seed(3)
    table_VD, head_VD = (torch.nn.Parameter(0.3 * torch.randn(40, 8, generator=generator)) for _ in range(2))
    token_T = torch.randint(40, (60,), generator=generator)
    role_T = np.array([ROLES.index("template")] * 20 + [ROLES.index("assistant")] * 40, dtype=np.uint8)
    loss = LossConfig(prompt_weight=weights[0], response_weight=weights[1], normalizer=normalizer)
    (coefficient_T,) = step_coefficients([role_T], loss).coefficient_T
    parameters = [table_VD, head_VD]
    optimizer: torch.optim.Optimizer = (
        torch.optim.SGD(parameters, lr=0.5) if sgd else torch.optim.AdamW(parameters, lr=0.01, eps=1e-30)
    )
    for _ in range(50):
        optimizer.zero_grad()
        weighted_linear_cross_entropy(
            table_VD[token_T[:-1]], head_VD, token_T[1:], torch.tensor(coefficient_T[1:], dtype=torch.float32)
        ).loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
    return torch.cat([table_VD.detach(), head_VD.detach()])


def test_what_feels_the_scale_of_a_loss_and_what_does_not() -> None:
    """Doubled weights double every gradient to the last bit: AdamW without its epsilon does not feel it, SGD does.

    Where Z is the sum of the weights they leave the loss as it is, whatever the optimizer.
    """
    one, half = (0.4, 0.8), (0.2, 0.4)

    def difference(normalizer: str = "nonzero", first: tuple[float, float] = one, **how: Any) -> float:
        ends = [steps_of(weights, normalizer, **how) for weights in (first, half)]
        return float((ends[0] - ends[1]).norm() / ends[0].norm())

    assert difference() == difference("completion") == 0
    assert difference(first=(0.3, 0.6)) < 1e-5, "1.5 is no power of two: rounding"
    # The larger gradient has a norm of 0.11 to 0.14, the smaller half of it: 0.1 cuts the one alone, 0.05 both.
    assert difference(clip=0.1) > 0.01
    assert difference(clip=0.05) < 1e-5
    assert difference(sgd=True) > 0.1
    for how in ({"sgd": True}, {"clip": 0.1}, {}):
        assert difference("weights", **how) < 1e-6


@pytest.mark.slow
def test_equal_ratios_give_equal_weights_but_under_clipping_or_pure_bf16(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path
) -> None:
    """AdamW divides a gradient by its own size: (0.4, 0.8) is (0.2, 0.4) up to its epsilon."""

    def difference(name: str, **fields: Any) -> tuple[float, list[float]]:
        (one, norms), (half, _) = (
            trained(tiny_llama, tiny_tokenizer, tmp_path / f"{name}{pair[0]}", pair, **fields)
            for pair in ((0.4, 0.8), (0.2, 0.4))
        )
        return float((one - half).norm() / (one - weights_of(tiny_llama)).norm()), norms

    free, norms = difference("free", clip_norm=None)
    assert free < 1e-3
    # Between the norms of the two gradients for half of the steps, so that it acts on the larger ones.
    assert difference("clipped", clip_norm=0.7 * sorted(norms)[25])[0] > 10 * free
    assert difference("bf16", clip_norm=None, precision="bf16")[0] > 10 * free
