"""How far a study is, from the registry."""

import time
from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from plw.config import CellConfig
from plw.progress import count
from plw.registry import Registry, StageRow


def print_status(config: CellConfig, console: Console) -> None:
    """Stages by kind and status, what is running, and what failed."""
    with Registry.open(config.registry.url, create=False) as registry:
        cells = registry.cells(study=config.study.name, scale=config.scale.name)
        rows = registry.stage_rows(study=config.study.name, scale=config.scale.name)
    labels = {
        cell.cell: f"{cell.dataset} {cell.model} p{cell.prompt_weight:g}-r{cell.response_weight:g}" for cell in cells
    }
    counts = Counter((row.kind, row.status) for row in rows)
    table = Table("stage", "done", "running", "failed", "not started", "mean seconds", title=config.runs_name)
    for kind in config.stages:
        found = [counts[kind, state] for state in ("done", "running", "failed")]
        table.add_row(kind, *map(str, found), str(max(0, len(cells) - sum(found))), _mean_seconds(rows, kind))
    console.print(f"{count(len(cells), 'cell')} in {config.registry.url}")
    console.print(table)
    _print_rows(rows, "running", labels, console)
    _print_rows(rows, "failed", labels, console)


def _mean_seconds(rows: list[StageRow], kind: str) -> str:
    seconds = [row.seconds for row in rows if row.kind == kind and row.status == "done" and row.seconds is not None]
    return f"{sum(seconds) / len(seconds):.1f}" if seconds else "–"


def _print_rows(rows: list[StageRow], state: str, labels: dict[str, str], console: Console) -> None:
    chosen = [row for row in rows if row.status == state]
    if not chosen:
        return
    table = Table("cell", "stage", "attempt", "worker, last heartbeat" if state == "running" else "error", title=state)
    for row in chosen:
        silent = f"{row.holder}, {time.time() - (row.heartbeat or 0):.0f} s ago"
        remark = silent if state == "running" else row.error or ""
        table.add_row(labels.get(row.cell, row.cell[:8]), row.kind, str(row.attempts), Text(remark))
    console.print(table)
