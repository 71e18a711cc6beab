"""What `plw tune` measures: a suite's benchmarks, some of them, a judge's win rate, or answers to held-out records."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plw.commands.dataset import read_dataset
from plw.commands.measurable import FEWEST_ITEMS
from plw.config.evaluation import REFERENCE, PromptSetConfig, TaskConfig
from plw.errors import UserError
from plw.files import write_json_atomic
from plw.identity import fingerprint
from plw.inputs import foreign_prompts
from plw.progress import count

if TYPE_CHECKING:
    from plw.config import CellConfig
    from plw.data.records import Record

HELD_OUT = "held_out"
FEWEST_RECORDS = 20
"""Fewer records say nothing about a weight: what is held out would be a handful."""
MOST_HELD_OUT = 100
SHARE_HELD_OUT = 5
"""One record in so many is held out, up to the most."""


def with_tasks(config: "CellConfig", tasks: Sequence[str], *, suite_given: bool) -> "CellConfig":
    """Benchmarks of the suite, or where no suite was chosen lm-eval's own tasks, written ``TASK`` or ``TASK:METRIC``.

    Raises:
        UserError: no name, a benchmark that is named twice, or one that the suite does not have.
    """
    suite, chosen = config.suite, {}
    for name, times in Counter(task.partition(":")[0] for task in tasks).items():
        if not name.strip():
            raise UserError("--task is empty; give the name of a benchmark")
        if times > 1:
            raise UserError(f"--task {name} is given {times} times; a benchmark counts once, by one metric")
    for task in tasks:
        name, _, metric = task.partition(":")
        if suite_given:
            if name not in suite.tasks:
                raise UserError(
                    f"--task {name}: suite {suite.name} has no such benchmark; allowed: {', '.join(suite.tasks)}"
                )
            found = suite.tasks[name]
            chosen[name] = dataclasses.replace(found, metric=metric) if metric else found
        else:
            chosen[name] = TaskConfig(task=name, group="multiple_choice", metric=metric or _usual_metric(name))
    named = "-".join([*([suite.name] if suite_given else []), *(task.replace(":", "-") for task in tasks)])
    made = dataclasses.replace(suite, name=named, tasks=chosen, prompts={})
    return dataclasses.replace(config, suite=made, stages=["train", "harness"])


def _usual_metric(task: str) -> str:
    """The metric that the task is usually told by.

    Raises:
        UserError: lm-eval knows no such task.
    """
    from analysis.items.benchmark import choose_metric
    from plw.evaluate.lm_eval.tasks import reported_metrics, task_manager
    from plw.paths import task_folder

    return choose_metric(reported_metrics(task_manager(task_folder(), True), task)) or "acc"


def with_judge(config: "CellConfig") -> "CellConfig":
    """The win rate alone: on the suite's prompts where it has any that the judge compares, else on held-out records.

    Raises:
        UserError: neither the suite has any, nor can the judge compare an answer with a record's.
    """
    stages = ["train", "generate", "judge"]
    if config.judged:
        suite = dataclasses.replace(config.suite, name=f"{config.suite.name}-judged", tasks={}, prompts=config.judged)
        return dataclasses.replace(config, suite=suite, stages=stages)
    known = config.judge.protocols
    compared = [protocol for protocol in ("alpaca_eval", "pandalm") if known is None or protocol in known]
    if not compared:
        raise UserError(
            f"--judge {config.judge.name} grades dialogues ({', '.join(known or [])}) and compares no answers with a "
            "record's; choose a judge of alpaca_eval or pandalm, or a suite of dialogues"
        )
    suite = dataclasses.replace(
        config.suite,
        name=f"{config.suite.name}-judged",
        tasks={},
        prompts={HELD_OUT: PromptSetConfig(protocol=compared[0], prompts="")},
    )
    return dataclasses.replace(config, suite=suite, stages=stages)


def with_suite(config: "CellConfig", *, judge_given: bool) -> "CellConfig":
    """All headline scores of the suite: by default chrF of answers to held-out records.

    Where no judge was chosen, only the embedded world's prompts are judged, which its judge knows.

    Raises:
        UserError: nothing of the suite can be measured.
    """
    suite, judged = config.suite, config.judged
    if not judge_given and (config.judge.kind != "world" or foreign_prompts(config)):
        judged = {}
    written = any(item.protocol == REFERENCE for item in suite.prompts.values())
    stages = ["train"]
    stages += ["harness"] if suite.tasks else []
    stages += ["generate"] if written or judged else []
    stages += ["judge"] if judged else []
    if len(stages) == 1:
        lacking = "neither benchmarks nor prompts"
        if config.judged:
            lacking = f"{', '.join(config.judged)} need a judge; give --judge NAME"
        raise UserError(f"suite {suite.name} has nothing to measure: {lacking}")
    return dataclasses.replace(config, stages=stages)


def hold_out(config: "CellConfig") -> "CellConfig":
    """Count the records, and where prompts are still to come keep some records out of training and write them as such.

    The records are those that training leaves out by ``dataset.held_out``, so none of them is trained on.

    Raises:
        UserError: too few records, one whose form makes no prompt, or that has no answer; a folder that cannot be
            written.
        StorageError: the disk takes no more.
    """
    from plw.console import console
    from plw.data.prepare import split_held_out
    from plw.data.tokenizer import load_tokenizer
    from plw.pipeline import resolve_cell
    from plw.pipeline.hub import go_offline_if_unreachable
    from plw.pipeline.unpacking import unpack_model
    from plw.sweep.grid import build_world, folder_problem, registry_exists

    waiting = [name for name, item in config.suite.prompts.items() if not item.prompts]
    if config.dataset.path.startswith("world:") and not waiting:
        return config
    unwritable = folder_problem(config)
    if unwritable is not None and not registry_exists(config):
        raise unwritable
    model = config.model
    shown = dataclasses.replace(config, suite=dataclasses.replace(config.suite, prompts={}), stages=["train"])
    cell = resolve_cell(shown)
    unpack_model(cell)
    build_world([cell], console())
    location = cell.model.location
    if not Path(location).exists():
        go_offline_if_unreachable()
    tokenizer = load_tokenizer(location, revision=model.revision, trust_remote_code=model.trust_remote_code)
    _, records = read_dataset(config, tokenizer)
    if len(records) < FEWEST_RECORDS:
        raise UserError(
            f"{config.dataset.path}: {count(len(records), 'record')}; a weight is chosen with {FEWEST_RECORDS} or more"
        )
    if not waiting:
        return config
    number = config.dataset.held_out or min(MOST_HELD_OUT, len(records) // SHARE_HELD_OUT)
    if number < FEWEST_ITEMS:
        raise UserError(f"dataset.held_out={number}: trainings are compared on {FEWEST_ITEMS} held-out records or more")
    _, kept = split_held_out(records, number)
    rows = [_prompt_row(record) for record in kept]
    blank = [record.where for record, row in zip(kept, rows, strict=True) if not row["output"].strip()]
    if blank:
        raise UserError(
            f"{blank[0]}: no completion to compare answers with ({len(blank)} of {count(len(kept), 'held-out record')} "
            "have none); take such records out of the data, or measure by --task"
        )
    path = Path(config.execution.cache).absolute() / "held-out" / f"{config.dataset.name}-{fingerprint(rows)[:8]}.json"
    if not path.exists():
        if unwritable is not None:
            raise unwritable
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomic(path, rows)
    prompts = {
        name: dataclasses.replace(item, prompts=str(path)) if name in waiting else item
        for name, item in config.suite.prompts.items()
    }
    return dataclasses.replace(
        config,
        dataset=dataclasses.replace(config.dataset, held_out=number),
        suite=dataclasses.replace(config.suite, prompts=prompts),
    )


def _check_learned(weight: float, where: str) -> None:
    """An answer that the data keep out of the loss, or unlearn, is none that a model should give."""
    if weight <= 0:
        raise UserError(
            f"{where}: the data give the answer of a held-out record a weight of {weight:g}, so it is none to compare "
            "answers with; take such records out of the data, or measure by --task"
        )


def _prompt_row(record: "Record") -> dict[str, str]:
    """A record as a prompt with the answer that it should have; of a chat, its first request and answer.

    The system message before the request goes with it, as the model was trained with it.
    """
    from plw.data.records import AlpacaRecord

    if isinstance(record, AlpacaRecord):
        _check_learned(record.weight, record.where)
        return {"instruction": record.instruction, "input": record.input, "output": record.output}
    system = record.messages[0] if record.messages[0].role == "system" else None
    first = record.messages[: 2 if system is None else 3]
    if [message.role for message in first if message is not system] != ["user", "assistant"]:
        raise UserError(
            f"{record.where}: a held-out chat must begin with the user's request and an answer to it, after a system "
            f"message at most; found {', '.join(message.role for message in first)}; measure by --task instead"
        )
    asked, answer = first[-2:]
    _check_learned(record.weight * answer.weight, record.where)
    if record.tools or "tool_calls" in answer.more:
        raise UserError(
            f"{record.where}: a held-out chat has tools, which no request is asked with; leave them out of the data, "
            "or measure by --task instead"
        )
    row = {"instruction": asked.content, "input": "", "output": answer.content}
    return row if system is None else row | {"system": system.content}
