"""The recipe `alpaca`, beside the Hugging Face Trainer with Stanford Alpaca's collation: the same curves step by step.

The Trainer of the paper's day took the mean over the tokens of each micro-batch and the mean over micro-batches; the
Trainer of today divides by the tokens of the whole step, so its `compute_loss` is put back to the old rule here.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from torch.utils.data import Dataset, Sampler

from plw.config import LossConfig, RecipeConfig, TemplateConfig
from plw.data.encoding import encode
from plw.data.records import AlpacaRecord
from plw.data.template import record_segments
from plw.paths import conf_folder
from plw.testing.jobs import training_job
from plw.train.log import logged_steps
from plw.train.trainer import train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORE = -100
SEED = 42
PREAMBLE = "Below is an instruction that describes a task"
ASK = ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
ASK_WITH_INPUT = (
    ", paired with an input that provides further context. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)


def make_records() -> list[AlpacaRecord]:
    """Forty-two, so that an epoch's last step is short and its last micro-batch too; one prompt fills the length."""
    dice = np.random.default_rng(0)
    words = [*"abcdefghijkl", "three colours", "the river", "Paris", "12"]

    def some(low: int, high: int) -> str:
        return " ".join(dice.choice(words, dice.integers(low, high)))

    made = [
        AlpacaRecord(instruction=some(2, 9), input=some(3, 9) if n % 3 == 0 else "", output=some(2, 40))
        for n in range(41)
    ]
    return [*made, AlpacaRecord(instruction=some(150, 160), output="lost")]


def choice(group: str, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((conf_folder() / group / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def recipe() -> RecipeConfig:
    """The paper's, with what a small model and a short run need: size of a step, rate, length, and no bf16."""
    fields = {
        **choice("recipe", "alpaca"), "batch_size": 16, "learning_rate": 4e-3, "warmup_ratio": 0.2, "max_length": 160,
        "precision": "fp32",
    }  # fmt: skip
    return RecipeConfig(**{**fields, "learning_rate": float(fields["learning_rate"])})


@pytest.fixture(scope="module")
def bare_tokenizer(tiny_tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedTokenizerBase":
    """Without a padding token, as LLaMA's."""
    return type(tiny_tokenizer)(
        tokenizer_object=tiny_tokenizer.backend_tokenizer, bos_token="<s>", eos_token="</s>", padding_side="right"
    )


def ours(
    model: Path,
    tokenizer: "PreTrainedTokenizerBase",
    recipe: RecipeConfig,
    weight: float,
    folder: Path,
    loss: str = "nonzero-micro",
) -> list[dict[str, Any]]:
    template = TemplateConfig(**choice("template", "alpaca"))
    segments = [record_segments(record, template) for record in make_records()]
    encoded = encode(segments, tokenizer, max_length=recipe.max_length, end_of_sequence=template.end_of_sequence)
    assert encoded.without_completion == 1
    fields = {**choice("loss", loss), "prompt_weight": weight}
    about = {"examples": encoded.examples, "loss": LossConfig(**fields), "recipe": recipe, "seed": SEED}
    train(training_job(model, tokenizer, folder, **about))
    return logged_steps(folder / "log.jsonl")


class Examples(Dataset[dict[str, torch.Tensor]]):
    """Stanford Alpaca's: prompt and answer tokenised together, the prompt once more alone for its length."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", max_length: int, *, masked: bool) -> None:
        self.rows = []
        for record in make_records():
            ask = PREAMBLE + (ASK_WITH_INPUT if record.input else ASK)
            prompt = ask.format(instruction=record.instruction, input=record.input)
            both = [
                torch.tensor(tokenizer(text, truncation=True, max_length=max_length)["input_ids"])
                for text in (prompt + record.output + str(tokenizer.eos_token), prompt)
            ]
            labels = both[0].clone()
            if masked:
                labels[: len(both[1])] = IGNORE
            self.rows.append({"input_ids": both[0], "labels": labels})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.rows[index]


class OurOrder(Sampler[int]):
    """The order of each epoch's examples, epoch after epoch."""

    def __init__(self, examples: int) -> None:
        self.examples, self.epoch = examples, 0

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return iter(np.random.default_rng([SEED, self.epoch]).permutation(self.examples).tolist())

    def __len__(self) -> int:
        return self.examples


def theirs(
    path: Path, tokenizer: "PreTrainedTokenizerBase", recipe: RecipeConfig, weight: float, folder: Path
) -> list[dict[str, float]]:
    import copy

    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    tokenizer = copy.deepcopy(tokenizer)
    model: Any = AutoModelForCausalLM.from_pretrained(path)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
        embedding.weight.data[-1:] = embedding.weight.data[:-1].mean(dim=0, keepdim=True)
    padding = int(tokenizer.convert_tokens_to_ids("[PAD]"))

    def collate(rows: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        ids = pad_sequence([row["input_ids"] for row in rows], batch_first=True, padding_value=padding)
        labels = pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=IGNORE)
        return {"input_ids": ids, "labels": labels, "attention_mask": ids.ne(padding)}

    class OldTrainer(Trainer):
        """With the loss of the paper's day, and the order of ours."""

        def _get_train_sampler(self, train_dataset: Any = None) -> OurOrder:
            return OurOrder(len(examples))

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:
            loss: torch.Tensor = model(**inputs).loss
            micro_losses[-1].append(float(loss.detach()))
            return loss

        def log(self, logs: dict[str, float], *_: Any, **__: Any) -> None:
            if "grad_norm" in logs:
                rows.append({**logs, "loss": math.fsum(micro_losses[-1]) / len(micro_losses[-1])})
                micro_losses.append([])

    examples = Examples(tokenizer, recipe.max_length, masked=weight == 0)
    micro_losses: list[list[float]] = [[]]
    rows: list[dict[str, float]] = []
    micro = choice("loss", "nonzero-micro")["virtual_micro_batch"]
    steps = recipe.epochs * math.ceil(len(examples) / recipe.batch_size)
    trainer = OldTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=recipe.batch_size // micro,
            num_train_epochs=recipe.epochs,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type=recipe.schedule,
            warmup_steps=math.ceil(recipe.warmup_ratio * steps),
            weight_decay=recipe.weight_decay,
            max_grad_norm=recipe.clip_norm or 0.0,
            optim="adamw_torch",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=examples,
        data_collator=collate,
    )
    trainer.model_accepts_loss_kwargs = False
    trainer.train()
    return rows


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_curves_are_the_trainers(
    tiny_llama: Path, bare_tokenizer: "PreTrainedTokenizerBase", recipe: RecipeConfig, tmp_path: Path, weight: float
) -> None:
    mine = ours(tiny_llama, bare_tokenizer, recipe, weight, tmp_path / "ours")
    other = theirs(tiny_llama, bare_tokenizer, recipe, weight, tmp_path / "theirs")
    assert len(mine) == len(other) == 9
    for name, tolerance in (("learning_rate", 1e-12), ("loss", 1e-5), ("grad_norm", 1e-4)):
        assert [row[name] for row in mine] == pytest.approx([row[name] for row in other], rel=tolerance), name
    # The comparison is of something: the loss falls, the warm-up has an end, and gradients are clipped at some steps.
    assert mine[-1]["loss"] < 0.9 * mine[0]["loss"]
    assert max(row["learning_rate"] for row in mine) == recipe.learning_rate != mine[1]["learning_rate"]
    assert max(row["grad_norm"] for row in mine) > 1


def test_another_averaging_is_another_curve(
    tiny_llama: Path, bare_tokenizer: "PreTrainedTokenizerBase", recipe: RecipeConfig, tmp_path: Path
) -> None:
    """What the tolerance above can tell apart: the mean over the whole step, which is today's rule."""
    curves = [
        [row["loss"] for row in ours(tiny_llama, bare_tokenizer, recipe, 0.0, tmp_path / loss, loss)]
        for loss in ("nonzero-micro", "nonzero-batch")
    ]
    assert curves[0] != pytest.approx(curves[1], rel=1e-4)
