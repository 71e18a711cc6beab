"""What `plw tune` measures: a suite's benchmarks, some of them, a judge's win rate, or answers to held-out records."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plw.config.evaluation import ALPACA_EVAL, PANDALM, REFERENCE, PromptSetConfig, SuiteConfig, TaskConfig
from plw.data.inputs import foreign_prompts
from plw.errors import UserError
from plw.evaluate.lm_eval.definition import task_folders

if TYPE_CHECKING:
    from plw.config import CellConfig

HELD_OUT = "held_out"


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
            chosen[name] = TaskConfig(task=name, group="multiple_choice", metric=metric or _usual_metric(suite, name))
    named = "-".join([*([suite.name] if suite_given else []), *(task.replace(":", "-") for task in tasks)])
    made = dataclasses.replace(suite, name=named, tasks=chosen, prompts={})
    return dataclasses.replace(config, suite=made, stages=["train", "harness"])


def _usual_metric(suite: SuiteConfig, task: str) -> str:
    """The metric that the task is usually told by.

    Raises:
        UserError: lm-eval knows no such task.
    """
    from analysis.items.benchmark import choose_metric
    from plw.evaluate.lm_eval.task_index import task_manager
    from plw.evaluate.lm_eval.tasks import reported_metrics

    manager = task_manager(task_folders(suite), builtin=True, names={task})
    return choose_metric(reported_metrics(manager, task)) or "acc"


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
    compared = [protocol for protocol in (ALPACA_EVAL, PANDALM) if known is None or protocol in known]
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
