"""`plw tune`: which prompt weight for a model and data, by experiment at least cost."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plw.commands.choice import ConfigDir, chosen_cell, group_choices, in_paragraphs
from plw.commands.dataset import Data, dataset_choice
from plw.commands.held_out import hold_out
from plw.commands.measurable import AS_FIELD, check_measurable
from plw.commands.measure import with_judge, with_suite, with_tasks
from plw.commands.score_table import Out, write_numbers
from plw.commands.weight_search import (
    SearchLine,
    TrialRequest,
    answer_length,
    check_finished,
    check_rule,
    conclusion,
    config_lines,
    points,
    search,
)
from plw.config.evaluation import REFERENCE
from plw.data.inputs import HUB_NAME, in_world
from plw.errors import UserError
from plw.pretrained.gguf_file import SUFFIX
from plw.progress import count

if TYPE_CHECKING:
    from rich.console import Console

    from plw.config import CellConfig
    from plw.pipeline import Cell

SET_BY_TUNE = ("stages", "loss.prompt_weight", "model", "dataset")
"""What the command sets itself."""
HYDRA_OWN = re.compile(r"hydra(?![^./@])")
"""Beginning of a group or field of Hydra's own; none of them does anything here."""
UNNAMED = "model"
"""Stands in the config until the given folder is put in."""
UNNAMED_PATH = f"model.path={UNNAMED}"
MAX_NAMED_SCORES = 4
"""Scores that are named one by one."""
HELD_OUT_SUITE, HELD_OUT_PROMPTS = "held-out", "suite.prompts.held_out.prompts"

TunedModel = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model's folder, its name on the hub, or a model's config.")
]
Task = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="NAME[:METRIC]",
        help="Measure by this benchmark of the suite, or lm-eval task; repeatable, then their mean.",
    ),
]
JudgeName = Annotated[
    str | None,
    typer.Option("--judge", metavar="NAME", help="Measure by this judge's win rate over the data's own completions."),
]
Budget = Annotated[int, typer.Option("--budget", metavar="CELLS", help="Trainings at most.")]
RegretMargin = Annotated[
    float,
    typer.Option("--margin", help="A difference that does not matter, as a share of the full score: 0.01 is 1 point."),
]
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="FIELD=VALUE", help="Recipe, suite and other fields, as `plw run` takes them."),
]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(help=in_paragraphs(tune.__doc__ or ""))(tune)


def tune(
    model: TunedModel,
    data: Data,
    words: Words = None,
    task: Task = None,
    judge: JudgeName = None,
    budget: Budget = 5,
    margin: RegretMargin = 0.01,
    config_dir: ConfigDir = None,
    out: Out = None,
) -> None:
    """Which prompt weight for your model and data: train at a few weights, measure, and stop when it is clear enough.

    What is measured is your choice. By default up to 100 records are kept out of training; each model answers them, and
    the answers are compared with the records' own completions by chrF. That needs no judge and no benchmark, and it
    is the same measure at every weight, which the loss on held-out records is not: the weight is part of what training
    makes the loss of. A judge (--judge) sees more than overlap; a benchmark (--task) tells of other tasks than the
    data's. With suite=NAME, and with the embedded world, the mean over the whole suite is measured.

    The same command continues a search that was stopped. docs/tune.md says how it decides.
    """
    from analysis.inference.adaptive import WeightChooser
    from plw.runtime.console import console

    check_rule(budget, margin, "--budget ", "--margin ")
    if task and judge is not None:
        raise UserError("--task and --judge do not go together; give one of them")
    config = _trial_config(model, data, words or [], config_dir, task or [], judge)
    screen, chooser = console(), WeightChooser(budget=budget, margin=margin)
    screen.print(_measured(config), markup=False)
    line = SearchLine(name="")
    search([line], chooser, _trainer(config, screen), screen)
    _show(line, screen)
    for sentence in conclusion(line, chooser):
        screen.print(sentence, markup=False)
    assert line.decision is not None
    if line.told_apart:
        screen.print("In a config:\n" + "\n".join(config_lines(line.decision.best)), markup=False)
    if out is not None:
        about: dict[str, Any] = {"model": model, "data": data, "measure": _measured(config)}
        write_numbers(out, about | line.found())


def _trial_config(
    model: str, data: str, words: list[str], config_dir: Path | None, tasks: list[str], judge: str | None
) -> "CellConfig":
    """The config that all trials share, checked, with its held-out prompts written."""
    from plw.config.overrides import split_override

    for word in words:
        if (name := split_override(word)[0]) in SET_BY_TUNE:
            raise UserError(f"{word}: {name} is set by plw tune; leave it out")
        if HYDRA_OWN.match(name):
            raise UserError(f"{word}: plw tune has no sweeper or launcher; the search is set by --budget and --margin")
    words = [*words, *([] if judge is None else [f"judge={judge}"])]
    chosen, as_given = model_choice(model, config_dir)
    fields = [split_override(word)[0] for word in words]
    for word, field in zip(words, fields, strict=True):
        if UNNAMED_PATH in chosen and field == "model.path":
            raise UserError(f"{word}: the model is {model}, as the command says; leave one of the two out")
    is_world = in_world(as_given(chosen_cell(chosen, config_dir)).model.path)
    suite_given = is_world or any(field.startswith(("suite.tasks.", "suite.prompts.")) for field in fields)
    suite_given |= "suite" in fields
    config = as_given(dataset_choice(data, [*chosen, *_defaults(words, fields, is_world=is_world), *words], config_dir))
    if tasks:
        config = with_tasks(config, tasks, suite_given=suite_given)
    else:
        judge_given = any(field.split(".")[0] == "judge" for field in fields)
        config = with_suite(config, judge_given=judge_given) if judge is None else with_judge(config)
    if "judge" in config.stages and config.judge.kind == "world":
        from plw.pipeline.judge_cache import check_world_judge

        check_world_judge(config, "measure without --judge and judge=...")
    check_measurable(config, "--task {benchmark}:{metric}" if tasks else AS_FIELD)
    return hold_out(config)


def _defaults(words: Sequence[str], given: Sequence[str], *, is_world: bool) -> list[str]:
    """The choices that go with a model of the embedded world, or with any other, less those that the user makes."""
    made = {"study": "tune", "scale": "mini" if is_world else "own"}
    if not is_world:
        made |= {"recipe": "alpaca", "suite": HELD_OUT_SUITE}
    lines = [f"{group}={choice}" for group, choice in made.items() if group not in given]
    if f"suite={HELD_OUT_SUITE}" in (*lines, *words) and HELD_OUT_PROMPTS not in given:
        lines.append(f"{HELD_OUT_PROMPTS}=''")
    return lines


def model_choice(model: str, config_dir: Path | None) -> "tuple[list[str], Callable[[CellConfig], CellConfig]]":
    """The words that choose a model, and what puts a folder, file or hub name into the config composed of them.

    The path is put in afterwards, so that Hydra does not read its letters as grammar.

    Raises:
        UserError: empty; or neither a folder or GGUF file, nor a choice of the group ``model``, nor of the form of a
            hub name.
    """
    from plw.config.overrides import check_bytes

    check_bytes(model)
    if not model.strip():
        raise UserError("MODEL is empty; give a model's folder, its name on the hub, or a model's config")
    given = Path(model).expanduser()
    choices = group_choices("model", config_dir)
    if not given.exists() and model in choices:
        return [f"model={model}"], lambda config: config
    if not given.exists() and (model.endswith(SUFFIX) or not HUB_NAME.fullmatch(model)):
        raise UserError(f"{model}: no such folder or file, and no model's config; allowed: {', '.join(choices)}")
    path = str(given) if given.exists() else model

    def as_given(config: "CellConfig") -> "CellConfig":
        name = Path(path).absolute().name.removesuffix(SUFFIX) if config.model.name == UNNAMED else config.model.name
        found = dataclasses.replace(config.model, name=name, path=path)
        return dataclasses.replace(config, model=found)

    return ["model=folder", f"model.name={UNNAMED}", UNNAMED_PATH], as_given


def _trainer(config: "CellConfig", screen: "Console") -> "Callable[[list[TrialRequest]], list[Cell]]":
    """Trains the trials of the one line through the grid's runner: what is done is skipped, what failed is told."""
    from plw.pipeline import resolve_cell
    from plw.sweep.grid import run_grid
    from plw.sweep.summary import print_summary, raise_if_unfinished

    def train(requests: "list[TrialRequest]") -> "list[Cell]":
        configs = [
            dataclasses.replace(
                config,
                loss=dataclasses.replace(config.loss, prompt_weight=request.weight),
                seed=config.repeated_seed(request.repeat),
            )
            for request in requests
        ]
        # Each search compares its own cells alone.
        result = run_grid(configs, screen, is_compared=False)
        if result.failed or result.not_begun or result.unpublished:
            print_summary(result, config.runs_name, screen)
        raise_if_unfinished(result)
        cells = [resolve_cell(one) for one in configs]
        check_finished(cells)
        return cells

    return train


def _measured(config: "CellConfig") -> str:
    """What the trials are scored by, in a sentence."""
    suite = config.suite
    scores = [f"{name} ({task.metric})" for name, task in suite.tasks.items()]
    scores += [f"win rate on {name} by judge {config.judge.name}" for name in config.judged if "judge" in config.stages]
    scores += [f"chrF of answers on {name}" for name, item in suite.prompts.items() if item.protocol == REFERENCE]
    if len(scores) > MAX_NAMED_SCORES:
        scores = [f"all {len(scores)} headline scores of suite {suite.name}"]
    kept = f"; {count(config.dataset.held_out, 'record')} kept out of training" if config.dataset.held_out else ""
    mean = "the mean of " if len(scores) > 1 or len(suite.tasks) > 1 else ""
    unjudged = [] if "judge" in config.stages else list(config.judged)
    left = f"; {', '.join(unjudged)} not judged, since no judge is chosen" if unjudged else ""
    return (
        f"{config.model.name} on {config.dataset.name}, recipe {config.recipe.name}, measured by {mean}"
        f"{', '.join(scores)}{kept}{left}"
    )


def _show(line: SearchLine, screen: "Console") -> None:
    from rich.table import Table

    from plw.runtime.console import numbers_right

    decision = line.decision
    assert decision is not None
    table = Table(
        "prompt weight", "seed", "score", "±", "fitted", "tokens per answer", title="Trials, in points of 100"
    )
    table.title_justify = "left"
    order = sorted(range(len(line.cells)), key=lambda place: (line.trials[place].weight, line.cells[place].config.seed))
    for trial, cell in ((line.trials[place], line.cells[place]) for place in order):
        length = answer_length(cell)
        table.add_row(
            f"{trial.weight:g}",
            str(cell.config.seed),
            points(trial.score),
            points(trial.se),
            points(decision.expected[trial.weight][0]),
            "–" if length is None else f"{length:.1f}",
        )
    screen.print(numbers_right(table))
