"""What a plan says of costs: one row a kind of stage, in hours of this machine or of a GPU, and what to fetch first."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from urllib.parse import urlsplit

import yaml
from rich.console import Console
from rich.table import Table

from plw.config import CellConfig
from plw.config.evaluation import REFERENCE
from plw.config.study import PREFERENCE, CostConfig
from plw.data.inputs import LOOPBACK, in_world, is_elsewhere
from plw.paths import conf_folder
from plw.pipeline import Cell
from plw.progress import count, duration
from plw.runtime.console import numbers_right
from plw.sweep.cost import SECONDS_AN_HOUR, StageCost, cell_shape, judge_calls, stage_cost, step_tokens
from plw.sweep.cost_gaps import unknown_sizes
from plw.sweep.cpu_formats import print_slow_formats, slow_formats
from plw.sweep.cpu_speed import DISTURBED, CpuSpeed, NumberFormats, cpu_speed, machine_name, step_rows
from plw.sweep.workers import cell_threads, computes_on_cores, worker_count

BYTES_A_PARAMETER = 2
"""Base models are published in 16 bits."""

Work = dict[str, list[tuple[Cell, StageCost]]]
"""Kind of stage -> the cells that it is to be done for."""


def print_costs(to_do: Iterable[tuple[Cell, str]], console: Console) -> None:
    """Tokens, operations and hours of the stages to run, one row a kind of stage."""
    by_kind: Work = defaultdict(list)
    calls: list[int | None] = []
    unknown: dict[str, None] = {}
    for cell, kind in to_do:
        unknown |= dict.fromkeys(unknown_sizes(cell, kind))
        work = stage_cost(cell, kind)
        if work is None:
            calls.append(judge_calls(cell))
        else:
            by_kind[kind].append((cell, work))
    if not by_kind and not calls:
        return
    config = next((cells[0][0].config for cells in by_kind.values()), None)
    if config is not None and costs_are_of_cpu(config):
        _print_cpu(by_kind, calls, config, console)
    else:
        _print_gpu(by_kind, calls, None if config is None else config.execution.cost, console)
    for line in unknown:
        console.print(f"Unknown: {line}", markup=False)


def costs_are_of_cpu(config: CellConfig) -> bool:
    """Whether a plan is in hours of this machine's cores."""
    wanted = config.execution.cost.device
    if wanted != "auto":
        return wanted == "cpu"
    return computes_on_cores(config.execution)


def _print_gpu(by_kind: Work, calls: list[int | None], rates: CostConfig | None, console: Console) -> None:
    table = _table("GPU hours", "US dollars")
    totals: list[float | None] = []
    for kind, cells in by_kind.items():
        assert rates is not None
        hours = _sum(work.gpu_hours(rates) for _, work in cells)
        totals.append(hours)
        table.add_row(*_row(kind, cells), _short(hours), _short(None if hours is None else hours * rates.price))
    _add_judge(table, calls, 2)
    console.print(numbers_right(table))
    if rates is None:
        return
    total = _sum(totals)
    if total is not None:
        console.print(f"In all {_short(total)} GPU hours, {_short(total * rates.price)} US dollars.")
    console.print(
        f"Assumptions: {rates.gpu}, {rates.tflops:g} TFLOP/s, of which training reaches {rates.training_mfu:.0%}, "
        f"prefill {rates.prefill_mfu:.0%}, decode {rates.decode_mfu:.0%}; {rates.price:g} US dollars an hour; "
        "answers at full length; judges not counted (execution.cost)."
    )


def _print_cpu(by_kind: Work, calls: list[int | None], config: CellConfig, console: Console) -> None:
    cells = {id(cell): cell for of_kind in by_kind.values() for cell, _ in of_kind}
    print_slow_formats(slow_formats(list(cells.values())), console)
    workers = min(worker_count(config), len(cells))
    threads = cell_threads(config, workers)
    # What a busy machine gave is not kept, so that each cell would measure again.
    measure = cache(cpu_speed)
    speeds = {key: _speed(cell, threads, measure) for key, cell in cells.items()}
    table = _table("hours here")
    totals: list[float | None] = []
    for kind, of_kind in by_kind.items():
        hours = _sum(work.cpu_hours(speeds[id(cell)]) for cell, work in of_kind)
        totals.append(None if hours is None else hours / workers)
        table.add_row(*_row(kind, of_kind), _short(totals[-1]))
    _add_judge(table, calls, 1)
    console.print(numbers_right(table))
    total = _sum(totals)
    if total is not None:
        console.print(f"In all about {duration(total * SECONDS_AN_HOUR)} on this machine, the judge not counted.")
    measured = [(cell.config.model.name, speed) for key, cell in cells.items() if (speed := speeds[key]) is not None]
    rates = _rates(measured)
    console.print(
        f"Assumptions: {machine_name()}, otherwise idle, {count(workers, 'cell')} at once of "
        f"{count(threads, 'thread')}; by a short measurement{f' {rates}' if rates else ''}; answers at full length "
        "(execution.cost.device=gpu: hours of a GPU).",
        markup=False,
    )
    others = max((speed.others for speed in speeds.values() if speed is not None), default=0.0)
    if others >= DISTURBED:
        console.print(
            f"Other work had {others:.0%} of this machine meanwhile, so the hours are too many; the next plan measures "
            "again.",
            markup=False,
        )


def _rates(measured: Iterable[tuple[str, CpuSpeed]]) -> str:
    """Tokens a second by base model, those alike together; the speed depends on the length of a step, so a range."""
    of_model: dict[str, list[CpuSpeed]] = defaultdict(list)
    for name, speed in measured:
        of_model[name].append(speed)
    alike: dict[str, list[str]] = defaultdict(list)
    for name, speeds in of_model.items():
        trained = _range([1 / speed.train_token_s for speed in speeds])
        read = _range([1 / speed.prefill_token_s for speed in speeds])
        alike[f"{trained} tokens a second in training, {read} in reading"].append(name)
    return "; ".join(f"{', '.join(names)}: {words}" for words, names in alike.items())


def _range(values: list[float]) -> str:
    low, high = _short(min(values)), _short(max(values))
    return low if low == high else f"{low} to {high}"


def _speed(cell: Cell, threads: int, measure: Callable[..., CpuSpeed]) -> CpuSpeed | None:
    shape, tokens = cell_shape(cell), step_tokens(cell)
    if shape is None:
        return None
    execution = cell.config.execution
    return measure(
        shape,
        NumberFormats(training=cell.config.recipe.precision, scoring=cell.config.suite.dtype),
        threads=threads,
        rows=step_rows(tokens or execution.token_budget),
        cache=execution.cache_folder,
    )


def _table(*last: str) -> Table:
    return Table("stage", "cells", "tokens", "operations", *last, title="Cost", title_justify="left")


def _row(kind: str, cells: list[tuple[Cell, StageCost]]) -> tuple[str, ...]:
    tokens, operations = _sum(work.tokens for _, work in cells), _sum(work.operations for _, work in cells)
    return kind, str(len(cells)), _short(tokens), _short(operations)


def _add_judge(table: Table, calls: list[int | None], columns: int) -> None:
    if calls:
        table.add_row("judge", str(len(calls)), f"{_short(_sum(calls))} verdicts", "–", *["–"] * columns)


def print_missing_inputs(cells: list[Cell], console: Console) -> None:
    """What is not on this machine as far as can be seen without asking the network."""
    lines = dict.fromkeys(line for cell in cells for line in _missing_inputs(cell))
    if lines:
        console.print("Missing inputs (what is in a cache already is not fetched again):")
    for line in lines:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _missing_inputs(cell: Cell) -> Iterable[str]:
    config, stages = cell.config, set(cell.config.stages)
    model = config.model
    is_here = cell.model.packed is not None or cell.model.path.is_dir()
    if not is_here and not in_world(model.path):
        size = f", {model.parameters * BYTES_A_PARAMETER / 1e9:.1f} GB" if model.parameters else ""
        pinned = f"revision {model.revision}" if model.revision else "NOT PINNED: set model.revision"
        yield f"model {model.name}: {model.path} from the hub ({pinned}{size})"
    dataset = config.dataset
    if not cell.dataset.path.is_file() and not in_world(dataset.path):
        yield f"dataset {dataset.name}: {dataset.path}"
    pairs = config.preference
    if PREFERENCE in stages and is_elsewhere(pairs.path):
        yield f"pairs {pairs.name}: {pairs.path}"
    if {"generate", "judge"} & stages:
        for name, item in cell.prompts.items():
            if item.source is not None:
                yield f"prompts {name}: {item.source} -> {config.suite.prompts[name].prompts}"
            for field, found in cell.grading[name].items():
                if found.source is not None:
                    yield f"{field} of {name}: {found.source} -> {found.location}"
    if "diagnose" in stages and cell.sensitivity is not None and cell.sensitivity.source is not None:
        yield f"prompts of the sensitivity: {cell.sensitivity.source} -> {cell.sensitivity.location}"
    if "harness" in stages:
        hub = [task.task for task in config.suite.tasks.values() if not task.files]
        if hub:
            local = any(task.local for task in config.suite.tasks.values() if not task.files)
            yield f"data of the tasks {', '.join(hub)}, from the hub{', or suite.data=FOLDER' if local else ''}"
    if "judge" in stages:
        yield from _missing_of_judge(config)


def _missing_of_judge(config: CellConfig) -> Iterable[str]:
    """The address and key of a judge behind a server, and the prompts that are left to another one."""
    judge = config.judge
    if config.judged and judge.kind == "openai":
        if judge.endpoint is None:
            yield f"judge.endpoint: the address of a server of {judge.model}"
        elif urlsplit(judge.endpoint).hostname not in LOOPBACK:
            state = "set" if os.environ.get(judge.key_variable) else "not set here"
            yield f"judge {judge.name}: {judge.endpoint}, its key in the environment as {judge.key_variable} ({state})"
    judged_by_others = [
        name for name, item in config.suite.prompts.items() if item.protocol != REFERENCE and name not in config.judged
    ]
    if judged_by_others:
        wanted = {config.suite.prompts[name].protocol for name in judged_by_others}
        yield (
            f"a judge of {', '.join(judged_by_others)}: {judge.name} is none; give another by a command of its own "
            f"('stages=[judge]' judge={' or '.join(_judges_by_protocol(wanted)) or 'NAME'}, docs/judges.md)"
        )


def _judges_by_protocol(wanted: set[str]) -> list[str]:
    """Choices of conf/judge that are made for one of the protocols."""
    made_for = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8")).get("protocols") or ()
        for path in sorted((conf_folder() / "judge").glob("*.yaml"))
    }
    return [name for name, protocols in made_for.items() if wanted & set(protocols)]


def _sum(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    return None if None in listed else sum(value for value in listed if value is not None)


def _short(value: float | None) -> str:
    if value is None:
        return "unknown"
    if value >= 1e6:
        return f"{value:.2e}" if value >= 1e12 else f"{value / 1e6:,.1f} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
