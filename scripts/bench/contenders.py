"""The contenders: each trains the setting's model on a case for one epoch and says what that took.

What is timed is the training itself, optimizer steps included; loading the model and saving it are not.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.setting import BATCH, LEARNING_RATE, Case, Machine, Setting
from bench.work import DecoderCount, memory_peak_mib

if TYPE_CHECKING:
    from plw.data.encoding import EncodedExample

IGNORED = -100
"""The label that transformers leaves out of the loss."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a run took, and what it computed."""

    seconds: float
    """By the clock."""
    cpu_seconds: float
    """Of all threads together: what holds where other work shares the cores, if threads wait asleep."""
    computed_tokens: int
    """Tokens that went through the decoder, padding included."""
    flops: int
    """For the computed tokens, as the engine's log counts them; the head's for the tokens that go through it, whether
    or not they have a label."""
    peak_mib: float
    """The most memory of the contender's process until the training's end."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to train."""

    name: str
    what: str
    """One line for the reader of the results."""
    run: Callable[[Setting, Case, Path], Spent]
    """Trains in an empty folder; can be pickled."""


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
    """Ours first, then those that are asked for, by name: ``trainer``, ``grouped``, ``sft``, ``weighted``, a layout."""
    from plw.config.study import PACKED, PADDED, PREFIX

    def ours(name: str, layout: str) -> Contender:
        return Contender(
            name=name,
            what=f"this engine, layout {layout}, token budget {token_budget}",
            run=partial(_plw, layout=layout, token_budget=token_budget),
        )

    known = {
        **{layout: ours(layout, layout) for layout in (PADDED, PACKED, PREFIX)},
        "trainer": Contender(
            name="trainer",
            what="(a) Hugging Face Trainer, Stanford Alpaca's recipe: micro-batch 4, padded to longest, full logits",
            run=partial(_trainer, sampling="random"),
        ),
        "grouped": Contender(
            name="grouped",
            what="(b) the same, grouped by length, which changes the batches",
            run=partial(_trainer, sampling="group_by_length"),
        ),
        "sft": Contender(
            name="sft",
            what=f"(c) TRL's SFTTrainer, micro-batch {sft.micro_batch}, {sft.batching}, "
            f"{'Liger kernels' if sft.liger else 'its own fused head'}",
            run=partial(_sft, options=sft),
        ),
        "weighted": Contender(
            name="weighted",
            what="(d) the same with the case's own prompt weight: PromptWeightedSFTTrainer of plw.integrations",
            run=partial(_sft, options=sft, weighted=True),
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
    marks: list[_Mark] = []
    rows: list[dict[str, Any]] = []
    # The lease is checked first when the model stands ready and last before it is saved.
    train(job, check_lease=lambda: marks.append(_mark(setting.machine)), on_step=rows.append)
    computed, flops = (sum(row[name] for row in rows) for name in ("computed_tokens", "flops"))
    return _spent(marks[0], marks[-1], computed_tokens=computed, flops=flops)


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
    return _timed(trainer, setting.machine)


def _sft(setting: Setting, case: Case, folder: Path, *, options: SftOptions, weighted: bool = False) -> Spent:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from plw.integrations import PromptWeightedSFTTrainer

    arguments = SFTConfig(
        **_arguments(folder, setting.machine, micro_batch=options.micro_batch),
        # The examples are cut already, and padding-free TRL refuses to cut them.
        max_length=None if options.batching == "padding-free" else setting.max_length,
        gradient_checkpointing=False,
        completion_only_loss=None if weighted else case.peer_masks_prompt,
        train_sampling_strategy="group_by_length" if options.batching == "grouped" else "random",
        padding_free=options.batching == "padding-free",
        packing=options.batching == "packed",
        use_liger_kernel=options.liger,
    )
    rows = [
        {"input_ids": example.token_T.tolist(), "completion_mask": example.role_T.tolist()} for example in case.examples
    ]
    kind: Any = partial(PromptWeightedSFTTrainer, prompt_weight=case.prompt_weight) if weighted else SFTTrainer
    trainer = kind(
        model=_model(setting),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=setting.tokenizer,
    )
    # TRL's head leaves tokens without a label out on a GPU alone.
    return _timed(trainer, setting.machine, head_tokens=None if setting.machine.device == "cpu" else _labelled(case))


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


def _timed(trainer: Any, machine: Machine, head_tokens: int | None = None) -> Spent:
    """Train; the head computes all of the decoder's tokens where nothing else is said."""
    import torch

    from plw.launch.threads import torch_threads
    from plw.train.batching.counts import TokenCounts
    from plw.train.throughput import ModelFlops

    count = DecoderCount()
    count.watch(trainer.model.get_decoder())
    with torch_threads(machine.threads):
        started = _mark(machine)
        trainer.train()
        ended = _mark(machine)
    assert trainer.state.global_step > 0
    assert torch.isfinite(torch.tensor(trainer.state.log_history[0]["loss"]))
    computed = TokenCounts(
        tokens=count.tokens,
        predictions=count.tokens if head_tokens is None else head_tokens,
        pairs=count.pairs,
        last_tokens=count.tokens,
        last_pairs=count.pairs,
    )
    flops = ModelFlops.of(trainer.model).of_step(computed)
    return _spent(started, ended, computed_tokens=count.tokens, flops=flops)


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """A moment of a run."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def _mark(machine: Machine) -> _Mark:
    return _Mark(seconds=time.perf_counter(), cpu_seconds=time.process_time(), peak_mib=memory_peak_mib(machine.device))


def _spent(start: _Mark, end: _Mark, *, computed_tokens: int, flops: int) -> Spent:
    return Spent(
        seconds=end.seconds - start.seconds,
        cpu_seconds=end.cpu_seconds - start.cpu_seconds,
        computed_tokens=computed_tokens,
        flops=flops,
        peak_mib=end.peak_mib,
    )


def _model(setting: Setting) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(setting.model, dtype=torch.float32, attn_implementation="sdpa")
    model.config.pad_token_id = setting.tokenizer.pad_token_id
    return model


def _labelled(case: Case) -> int:
    """Tokens with a label, the first of an example left out."""
    return sum(label != IGNORED for example in case.examples for label in _labels(example, case)[1:])


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
