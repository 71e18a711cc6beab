"""The words below a plan: what the work to do amounts to, and what has to be fetched or given first."""

from collections import defaultdict
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from plw.inputs import WORLD_PREFIX
from plw.pipeline import Cell
from plw.sweep.cost import Work, judge_calls, stage_work

BYTES_A_PARAMETER = 2
"""Base models are published in 16 bits."""


def print_estimates(to_do: Iterable[tuple[Cell, str]], console: Console) -> None:
    """Tokens, operations, GPU hours and money of the stages to run, one row a kind of stage."""
    by_kind: dict[str, list[tuple[Cell, Work]]] = defaultdict(list)
    calls: list[int | None] = []
    for cell, kind in to_do:
        work = stage_work(cell, kind)
        if work is None:
            calls.append(judge_calls(cell))
        else:
            by_kind[kind].append((cell, work))
    if not by_kind and not calls:
        return
    table = Table(
        "stage", "cells", "tokens", "operations", "GPU hours", "US dollars", title="Estimates", title_justify="left"
    )
    totals: list[float | None] = []
    rates = next(cell for cells in by_kind.values() for cell, _ in cells).config.execution.estimate if by_kind else None
    for kind, cells in by_kind.items():
        assert rates is not None
        hours = _sum(work.gpu_hours(rates) for _, work in cells)
        totals.append(hours)
        tokens, operations = _sum(work.tokens for _, work in cells), _sum(work.operations for _, work in cells)
        money = None if hours is None else hours * rates.price
        table.add_row(kind, str(len(cells)), *map(_short, (tokens, operations, hours, money)))
    if calls:
        table.add_row("judge", str(len(calls)), f"{_short(_sum(calls))} verdicts", "–", "–", "–")
    console.print(table)
    if rates is None:
        return
    total = _sum(totals)
    if total is not None:
        console.print(f"In all {_short(total)} GPU hours, {_short(total * rates.price)} US dollars.")
    console.print(
        f"Reckoned with: {rates.gpu}, {rates.tflops:g} TFLOP/s, of which training reaches {rates.training_mfu:.0%}, "
        f"reading {rates.reading_mfu:.0%}, writing {rates.writing_mfu:.0%}; {rates.price:g} US dollars an hour; "
        "answers at full length; judges not counted (execution.estimate)."
    )


def print_needs(cells: list[Cell], console: Console) -> None:
    """What is not on this machine as far as can be seen without asking the network."""
    needs = dict.fromkeys(line for cell in cells for line in _needs(cell))
    if needs:
        console.print("To be fetched or given (what is in a cache already is not fetched again):")
    for line in needs:
        console.print(f"  {line}", markup=False, soft_wrap=True)


def _needs(cell: Cell) -> Iterable[str]:
    config, stages = cell.config, set(cell.config.stages)
    model = config.model
    if not cell.model.path.is_dir() and not model.path.startswith(WORLD_PREFIX):
        size = f", {model.parameters * BYTES_A_PARAMETER / 1e9:.1f} GB" if model.parameters else ""
        pinned = f"revision {model.revision}" if model.revision else "NOT PINNED: set model.revision"
        yield f"model {model.name}: {model.path} from the hub ({pinned}{size})"
    dataset = config.dataset
    if not cell.dataset.path.is_file() and not dataset.path.startswith(WORLD_PREFIX):
        yield f"dataset {dataset.name}: {dataset.path}"
    if {"generate", "judge"} & stages:
        for name, item in cell.prompts.items():
            if item.source is not None:
                yield f"prompts {name}: {item.source} -> {config.suite.prompts[name].prompts}"
    if "harness" in stages:
        hub = [task.task for task in config.suite.tasks.values() if not task.files]
        if hub:
            yield f"data of the tasks {', '.join(hub)}, from the hub"
    if "judge" in stages and cell.config.judged and config.judge.kind == "openai" and config.judge.endpoint is None:
        yield f"judge.endpoint: the address of a server of {config.judge.model}"


def _sum(values: Iterable[float | None]) -> float | None:
    listed = list(values)
    return None if None in listed else sum(value for value in listed if value is not None)


def _short(value: float | None) -> str:
    if value is None:
        return "unknown"
    if value >= 1e6:
        return f"{value:.2e}" if value >= 1e12 else f"{value / 1e6:,.1f} M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
