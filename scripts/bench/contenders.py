"""The contenders: each trains the setting's model on a case for one epoch and says what that took.

What is timed is the training itself, optimizer steps included; loading the model and saving it are not.
"""

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.setting import BATCH, LEARNING_RATE, Case, Machine, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plw.data.encoding import EncodedExample

IGNORED = -100
"""The label that transformers leaves out of the loss."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a run took."""

    seconds: float
    """By the clock."""
    cpu_seconds: float
    """Of all threads together: what holds where other work shares the cores, if threads wait asleep."""
    mfu: float | None = None
    """On a GPU, of our own runs: the median step's share of the device's peak."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to train."""

    name: str
    what: str
    """One line for the reader of the results."""
    run: Callable[[Setting, Case, Path], Spent]
    """Trains in an empty folder."""


@dataclass(frozen=True, kw_only=True)
class SftOptions:
    """What TRL may be told to be faster."""

    micro_batch: int = 4
    batching: str = "padding-free"
    """``grouped`` (by length), ``padding-free`` (a micro-batch is one row), ``packed`` (rows of several examples up to
    the maximum length, which changes the examples of a step)."""
    liger: bool = False
    """With Liger's kernels."""


def contenders(*, token_budget: int, sft: SftOptions, peers: Sequence[str]) -> list[Contender]:
    """Ours first, then those that are asked for: ``trainer``, ``grouped``, ``sft``, or a layout of ours by its name."""
    from plw.train.batching.layout import PACKED, PADDED, PREFIX

    def ours(name: str, layout: str) -> Contender:
        return Contender(
            name=name,
            what=f"this engine, layout {layout}, token budget {token_budget}",
            run=lambda setting, case, folder: _plw(setting, case, folder, layout=layout, token_budget=token_budget),
        )

    known = {
        **{layout: ours(layout, layout) for layout in (PADDED, PACKED, PREFIX)},
        "trainer": Contender(
            name="trainer",
            what="(a) Hugging Face Trainer, Stanford Alpaca's recipe: micro-batch 4, padded to longest, full logits",
            run=lambda setting, case, folder: _trainer(setting, case, folder, sampling="random"),
        ),
        "grouped": Contender(
            name="grouped",
            what="(b) the same, grouped by length, which changes the batches",
            run=lambda setting, case, folder: _trainer(setting, case, folder, sampling="group_by_length"),
        ),
        "sft": Contender(
            name="sft",
            what=f"(c) TRL's SFTTrainer, micro-batch {sft.micro_batch}, {sft.batching}, "
            f"{'Liger kernels' if sft.liger else 'its own fused head'}",
            run=lambda setting, case, folder: _sft(setting, case, folder, sft),
        ),
    }
    return [ours("plw", "auto"), *(known[name] for name in peers)]


def _plw(setting: Setting, case: Case, folder: Path, *, layout: str, token_budget: int) -> Spent:
    from plw.config.loss import LossConfig
    from plw.config.study import ExecutionConfig
    from plw.config.training import RecipeConfig
    from plw.train.job import TrainingJob
    from plw.train.trainer import train

    recipe = RecipeConfig(
        name="alpaca",
        epochs=1,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        max_length=setting.max_length,
        precision=setting.machine.precision,
    )
    job = TrainingJob(
        model=str(setting.model),
        tokenizer=setting.tokenizer,
        examples=case.examples,
        loss=LossConfig(prompt_weight=case.prompt_weight),
        recipe=recipe,
        seed=42,
        folder=folder,
        execution=ExecutionConfig(
            device=setting.machine.device,
            threads=setting.machine.threads,
            layout=layout,
            token_budget=token_budget,
        ),
    )
    marks: list[tuple[float, float]] = []
    shares: list[float] = []
    train(
        job,
        # Called first when the model stands ready and last before it is saved.
        check_lease=lambda: marks.append(_now()),
        on_step=lambda row: shares.append(row["mfu"]) if row["mfu"] is not None else None,
    )
    return replace(_between(marks[0], marks[-1]), mfu=statistics.median(shares) if shares else None)


def _trainer(setting: Setting, case: Case, folder: Path, *, sampling: str) -> Spent:
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        **_arguments(folder, setting.machine, micro_batch=4), train_sampling_strategy=sampling
    )
    rows = [{"input_ids": example.token_T.tolist(), "labels": _labels(example, case)} for example in case.examples]
    trainer = Trainer(
        model=_model(setting),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=_Padded(setting.tokenizer.pad_token_id),
    )
    return _timed(trainer, setting.machine.threads)


def _sft(setting: Setting, case: Case, folder: Path, options: SftOptions) -> Spent:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        **_arguments(folder, setting.machine, micro_batch=options.micro_batch),
        # The examples are cut already, and padding-free TRL refuses to cut them.
        max_length=None if options.batching == "padding-free" else setting.max_length,
        gradient_checkpointing=False,
        completion_only_loss=case.peer_masks_prompt,
        train_sampling_strategy="group_by_length" if options.batching == "grouped" else "random",
        padding_free=options.batching == "padding-free",
        packing=options.batching == "packed",
        use_liger_kernel=options.liger,
    )
    rows = [
        {"input_ids": example.token_T.tolist(), "completion_mask": example.role_T.tolist()} for example in case.examples
    ]
    trainer = SFTTrainer(
        model=_model(setting),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=setting.tokenizer,
    )
    return _timed(trainer, setting.machine.threads)


def _arguments(folder: Path, machine: Machine, *, micro_batch: int) -> dict[str, Any]:
    """Stanford Alpaca's recipe in the words of transformers."""
    return {
        "output_dir": str(folder),
        "use_cpu": machine.device == "cpu",
        "bf16": machine.precision == "bf16-mixed",
        "num_train_epochs": 1,
        "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": BATCH // micro_batch,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.03,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "optim": "adamw_torch_fused",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": 42,
    }


def _timed(trainer: Any, threads: int) -> Spent:
    import torch

    with _threads(threads):
        started = _now()
        trainer.train()
        spent = _between(started, _now())
    assert trainer.state.global_step > 0
    assert torch.isfinite(torch.tensor(trainer.state.log_history[0]["loss"]))
    return spent


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _between(start: tuple[float, float], end: tuple[float, float]) -> Spent:
    return Spent(seconds=end[0] - start[0], cpu_seconds=end[1] - start[1])


@contextmanager
def _threads(count: int) -> "Iterator[None]":
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _model(setting: Setting) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(setting.model, dtype=torch.float32, attn_implementation="sdpa")
    model.config.pad_token_id = setting.tokenizer.pad_token_id
    return model


def _labels(example: "EncodedExample", case: Case) -> list[int]:
    from plw.data.encoding import COMPLETION

    pairs = zip(example.token_T.tolist(), example.role_T.tolist(), strict=True)
    return [IGNORED if case.peer_masks_prompt and role != COMPLETION else token for token, role in pairs]


@dataclass(frozen=True)
class _Padded:
    """Stanford Alpaca's collator: padded on the right to the longest of the micro-batch."""

    pad_id: int

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, Any]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)

        def padded(key: str, filler: int) -> Any:
            return torch.tensor([row[key] + [filler] * (longest - len(row[key])) for row in rows])

        mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
        return {
            "input_ids": padded("input_ids", self.pad_id),
            "labels": padded("labels", IGNORED),
            "attention_mask": torch.tensor(mask),
        }


def emptied(folder: Path) -> Path:
    """The folder, with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
