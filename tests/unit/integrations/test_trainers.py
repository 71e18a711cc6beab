"""The weighted loss in transformers' and TRL's trainers: their own at weights 0 and 1, our engine's in between."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plw.config.loss import FactorConfig, LossConfig
from plw.config.training import RecipeConfig
from plw.data.encoding import EncodedExample
from plw.errors import UserError
from plw.integrations import PromptWeightCollator, PromptWeightedSFTTrainer, PromptWeightedTrainer
from plw.train.batching.plan import plan_training
from plw.train.model.load import LoadedModel, load_model
from plw.train.model.weighted import WeightedModel, accumulate_gradients

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# TRL sets fields that transformers warns of.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

STEP = 6
"""Examples of a step: three micro-batches of two."""


@pytest.fixture(scope="module")
def examples() -> list[EncodedExample]:
    """Twelve of unlike lengths, two steps."""
    dice = np.random.default_rng(0)
    made = []
    for length, prompt in [
        (9, 4),
        (14, 10),
        (17, 3),
        (11, 9),
        (12, 1),
        (20, 8),
        (6, 2),
        (21, 7),
        (8, 3),
        (5, 2),
        (9, 8),
        (7, 1),
    ]:
        role_T = (np.arange(length) >= prompt).astype(np.uint8)
        made.append(EncodedExample(token_T=dice.integers(3, 400, length).astype(np.int32), role_T=role_T))
    return made


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase") -> LoadedModel:
    return load_model(str(tiny_llama), tiny_tokenizer)


def rows(examples: Sequence[EncodedExample], **more: Any) -> Any:
    from datasets import Dataset

    return Dataset.from_list(
        [
            {"input_ids": example.token_T.tolist(), "completion_mask": example.role_T.tolist(), **more}
            for example in examples
        ]
    )


def gradients(trainer: Any) -> list[Tensor]:
    """The gradient of each optimizer step of a trainer that does not move."""
    from transformers import TrainerCallback

    found: list[Tensor] = []

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            found.append(torch.cat([p.grad.flatten().clone() for p in kwargs["model"].parameters()]))

    trainer.add_callback(Keep())
    trainer.train()
    return found


def arguments(kind: str, folder: Path, **more: Any) -> Any:
    fields = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": STEP // 2,
        "num_train_epochs": 1,
        "learning_rate": 0.0,
        "max_grad_norm": 0.0,
        "train_sampling_strategy": "sequential",
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **more,
    }
    if kind == "trainer":
        from transformers import TrainingArguments

        return TrainingArguments(**fields)
    from trl import SFTConfig

    return SFTConfig(max_length=None, gradient_checkpointing=False, **fields)


def model(path: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, attn_implementation="sdpa")


def weighted(
    kind: str, path: Path, tokenizer: Any, dataset: Any, folder: Path, *, packed: bool = False, **fields: Any
) -> list[Tensor]:
    if kind == "trainer":
        weights = {name: fields[name] for name in ("prompt_weight", "response_weight") if name in fields}
        collator = PromptWeightCollator(pad_token_id=2, padding_free=packed, **weights)
        args = arguments(kind, folder)
        return gradients(
            PromptWeightedTrainer(model(path), args, collator if packed else None, train_dataset=dataset, **fields)
        )
    args = arguments(kind, folder, padding_free=packed)
    return gradients(
        PromptWeightedSFTTrainer(model(path), args, train_dataset=dataset, processing_class=tokenizer, **fields)
    )


def engine(loaded: LoadedModel, examples: Sequence[EncodedExample], loss: LossConfig) -> list[Tensor]:
    """Our engine's gradient of each step of as many examples."""
    found = []
    for first in range(0, len(examples), STEP):
        part = examples[first : first + STEP]
        recipe = RecipeConfig(name="r", epochs=1, batch_size=len(part))
        (step,) = plan_training(part, loss, recipe, seed=0, token_budget=40).steps
        loaded.model.zero_grad()
        accumulate_gradients(WeightedModel(loaded, factor=loss.factor), part, step, device=torch.device("cpu"))
        found.append(torch.cat([parameter.grad.flatten().clone() for parameter in loaded.model.parameters()]))
    return found


def assert_same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    assert len(found) == len(expected) == 2
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).norm() / other.norm()) < 3e-6


@pytest.mark.parametrize("prompt_weight", [0.0, 1.0])
def test_weights_0_and_1_are_the_trainers_own(
    tiny_llama: Path, tiny_tokenizer: Any, examples: list[EncodedExample], tmp_path: Path, prompt_weight: float
) -> None:
    from transformers import DataCollatorForSeq2Seq, Trainer

    labelled = rows(examples).map(
        lambda row: {
            "labels": [
                token if mask or prompt_weight else -100
                for token, mask in zip(row["input_ids"], row["completion_mask"], strict=True)
            ]
        },
        remove_columns=["completion_mask"],
    )
    theirs = Trainer(
        model(tiny_llama),
        arguments("trainer", tmp_path / "theirs"),
        DataCollatorForSeq2Seq(tiny_tokenizer),
        train_dataset=labelled,
    )
    ours = weighted(
        "trainer", tiny_llama, tiny_tokenizer, rows(examples), tmp_path / "ours", prompt_weight=prompt_weight
    )
    assert_same(ours, gradients(theirs))


@pytest.mark.parametrize("prompt_weight", [0.0, 1.0])
def test_weights_0_and_1_are_trls_own(
    tiny_llama: Path, tiny_tokenizer: Any, examples: list[EncodedExample], tmp_path: Path, prompt_weight: float
) -> None:
    from trl import SFTTrainer

    theirs = SFTTrainer(
        model(tiny_llama),
        arguments("sft", tmp_path / "theirs", completion_only_loss=prompt_weight == 0),
        train_dataset=rows(examples),
        processing_class=tiny_tokenizer,
    )
    ours = weighted("sft", tiny_llama, tiny_tokenizer, rows(examples), tmp_path / "ours", prompt_weight=prompt_weight)
    assert_same(ours, gradients(theirs))


DFT = FactorConfig(kind="power")


@pytest.mark.parametrize("kind", ["trainer", "sft"])
@pytest.mark.parametrize(
    ("fields", "packed"),
    [
        ({"prompt_weight": 0.1}, False),
        ({"prompt_weight": 0.1, "normalizer": "weights", "response_weight": 0.01}, True),
        ({"prompt_weight": 0.3, "normalizer": "completion", "factor": DFT}, False),
        ({"prompt_weight": 0.1, "scope": "example"}, True),
        ({"prompt_weight": 0.1, "scope": "example", "normalizer": "weights"}, False),
    ],
    ids=str,
)
def test_any_weight_is_our_engines(
    loaded: LoadedModel,
    tiny_llama: Path,
    tiny_tokenizer: Any,
    examples: list[EncodedExample],
    tmp_path: Path,
    kind: str,
    fields: dict[str, Any],
    packed: bool,
) -> None:
    ours = weighted(kind, tiny_llama, tiny_tokenizer, rows(examples), tmp_path, packed=packed, **fields)
    assert_same(ours, engine(loaded, examples, LossConfig(**fields)))


def test_weights_of_the_data_multiply_those_of_the_roles(
    tiny_llama: Path, tiny_tokenizer: Any, examples: list[EncodedExample], tmp_path: Path
) -> None:
    """0 leaves a token out, as if it were a prompt at weight 0; a common number cancels in Σwl/Σw."""
    masked = rows(examples).add_column("token_weights", [example.role_T.astype(float).tolist() for example in examples])
    whole = weighted("trainer", tiny_llama, tiny_tokenizer, rows(examples), tmp_path / "a", prompt_weight=0.0)
    left_out = weighted("trainer", tiny_llama, tiny_tokenizer, masked, tmp_path / "b", prompt_weight=1.0)
    assert_same(left_out, whole)
    halved = rows(examples).add_column("token_weights", [[0.5] * len(example.token_T) for example in examples])
    fields = {"prompt_weight": 0.1, "normalizer": "weights"}
    assert_same(
        weighted("trainer", tiny_llama, tiny_tokenizer, halved, tmp_path / "c", **fields),
        weighted("trainer", tiny_llama, tiny_tokenizer, rows(examples), tmp_path / "d", **fields),
    )


def test_evaluation_has_the_weighted_loss_and_the_logits(
    tiny_llama: Path, tiny_tokenizer: Any, examples: list[EncodedExample], tmp_path: Path
) -> None:
    dataset = rows(examples[:2])
    trainer = PromptWeightedTrainer(
        model(tiny_llama),
        arguments("trainer", tmp_path, per_device_eval_batch_size=2),
        eval_dataset=dataset,
        prompt_weight=0.1,
    )
    batch = trainer.data_collator(list(dataset))
    loss, outputs = trainer.compute_loss(trainer.model, dict(batch), return_outputs=True)
    assert outputs.logits.shape[:2] == batch["input_ids"].shape
    assert trainer.compute_loss(trainer.model, dict(batch)).item() == pytest.approx(loss.item(), rel=1e-6)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompt_weight": -0.1}, "prompt_weight=-0.1"),
        ({"prompt_weight": "0.1"}, "prompt_weight='0.1' is no number"),
        ({"prompt_weight": True}, "prompt_weight=True is no number"),
        ({"response_weight": None}, "response_weight=None is no finite number"),
        ({"response_weight": float("inf")}, "response_weight=inf is no finite number"),
        ({"response_weight": float("nan")}, "response_weight=nan"),
        ({"prompt_weight": 0.0, "response_weight": 0.0}, "leaves no loss"),
        ({"normalizer": "tokens"}, "allowed: completion, nonzero, weights"),
        ({"scope": "micro"}, "allowed: batch, example"),
    ],
)
def test_mistakes_are_one_line(tiny_llama: Path, tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    for kind in (PromptWeightedTrainer, PromptWeightedSFTTrainer):
        with pytest.raises(UserError) as caught:
            kind(model=None, **fields)
        assert named in str(caught.value)


def test_data_that_do_not_tell_the_prompt_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    from datasets import Dataset

    with pytest.raises(UserError, match="columns found: text"):
        PromptWeightedSFTTrainer(
            str(tiny_llama), arguments("sft", tmp_path), None, Dataset.from_dict({"text": ["a b"]})
        )
    with pytest.raises(UserError, match="completion_only_loss"):
        PromptWeightedSFTTrainer(str(tiny_llama), arguments("sft", tmp_path, completion_only_loss=False))
    with pytest.raises(UserError, match="no completion_mask, no assistant_masks and no labels"):
        PromptWeightCollator(pad_token_id=0)([{"input_ids": [1, 2]}])
    with pytest.raises(UserError, match="2 input_ids but 3 completion_mask"):
        PromptWeightCollator(pad_token_id=0)([{"input_ids": [1, 2], "completion_mask": [0, 1, 1]}])
    with pytest.raises(UserError, match="token_weights has nan at token 1"):
        PromptWeightCollator(pad_token_id=0)(
            [{"input_ids": [1, 2], "completion_mask": [0, 1], "token_weights": [1.0, float("nan")]}]
        )


@pytest.mark.parametrize("kind", ["trainer", "sft"])
def test_steps_that_teach_nothing_are_told_once(
    kind: str, tiny_llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    examples = [{"input_ids": [1, 2, 3], "completion_mask": [0, 0, 1], "token_weights": [0.0, 0.0, 0.0]}] * 8
    if kind == "sft":
        # A completion of one token, which nothing of its own example predicts.
        examples = [{"input_ids": [3], "completion_mask": [1]}] * 8
    trainer = (PromptWeightedTrainer if kind == "trainer" else PromptWeightedSFTTrainer)(
        AutoModelForCausalLM.from_pretrained(tiny_llama), arguments(kind, tmp_path, gradient_accumulation_steps=1),
        train_dataset=Dataset.from_list(examples),
    )  # fmt: skip
    trainer.train()
    told = [record.getMessage() for record in caplog.records if "teaches nothing" in record.getMessage()]
    assert len(told) == 1
    assert "prompt_weight=0, response_weight=1" in told[0]
