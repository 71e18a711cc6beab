"""How far a study is, from the registry."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from plw.config import CellConfig
from plw.progress import count
from plw.registry import Overview, Registry

STATES = ("done", "running", "failed")


def print_status(config: CellConfig, console: Console) -> None:
    """Stages by kind and status, what is running, and what failed."""
    with Registry.open(config.registry.url, create=False) as registry:
        found = registry.overview(study=config.study.name, scale=config.scale.name)
    table = Table("stage", *STATES, "not started", "mean seconds", title=config.runs_name)
    for kind in config.stages:
        counts = [found.stages.get((kind, state), 0) for state in STATES]
        mean = found.seconds.get(kind)
        left = max(0, found.cells - sum(counts))
        table.add_row(kind, *map(str, counts), str(left), "–" if mean is None else f"{mean:.1f}")
    console.print(f"{count(found.cells, 'cell')} in {config.registry.url}")
    console.print(table)
    _print_rows(found, "running", console)
    _print_rows(found, "failed", console)


def _print_rows(found: Overview, state: str, console: Console) -> None:
    chosen = [(cell, row) for cell, row in found.open if row.status == state]
    if not chosen:
        return
    table = Table("cell", "stage", "attempt", "worker, last heartbeat" if state == "running" else "error", title=state)
    for cell, row in chosen:
        silent = f"{row.holder}, {found.now - (row.heartbeat or 0):.0f} s ago"
        remark = silent if state == "running" else row.error or ""
        table.add_row(cell, row.kind, str(row.attempts), Text(remark))
    console.print(table)
