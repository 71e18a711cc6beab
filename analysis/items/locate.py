"""What a person means by a side of a comparison: a cell's folder, its eight characters, or a folder of lm-eval's."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.items.benchmark import ModelItems
from analysis.items.lm_eval_samples import read_samples, sample_files
from analysis.items.parquet import item_files, read_cell
from plw.errors import UserError

EIGHT = re.compile(r"[0-9a-f]{8}")
RUN_FIELDS = ("dataset", "model", "seed")
"""Fields of a cell's row that two weights of one training run have in common."""


def read_side(
    name: str, runs: Callable[[], Path], metrics: Sequence[str] = (), cluster_field: str | None = None
) -> list[ModelItems]:
    """The models of one side, in the order given.

    Args:
        name: A folder, eight characters, or several of either with commas between them: training runs of one kind.
        runs: The folder of all results, asked for only where eight characters are looked up.
        metrics: What to compare; by default the headline metrics.
        cluster_field: Field of lm-eval's documents that items may share.

    Raises:
        UserError: nothing there, or nothing that holds items.
    """
    return [_read(part.strip(), runs, metrics, cluster_field) for part in name.split(",")]


def pair_runs(a: Sequence[ModelItems], b: Sequence[ModelItems]) -> tuple[list[ModelItems], list[ModelItems]]:
    """Put the runs of both sides into one order: the same dataset, base model and seed beside each other.

    Raises:
        UserError: several runs a side that do not go together.
    """
    if len(a) == len(b) == 1:
        return list(a), list(b)
    if len(a) != len(b):
        raise UserError(f"A has {len(a)} training runs and B {len(b)}; each run of A needs its counterpart in B")
    of_b = {_run_of(model): model for model in b}
    ordered = []
    for model in a:
        run = _run_of(model)
        if run not in of_b:
            raise UserError(
                f"{model.label}: B has no cell of the same {', '.join(RUN_FIELDS)} ({', '.join(map(str, run))})"
            )
        ordered.append(of_b.pop(run))
    return list(a), ordered


def _run_of(model: ModelItems) -> tuple[object, ...]:
    if model.cell is None:
        raise UserError(
            f"{model.label}: several runs a side are paired by {', '.join(RUN_FIELDS)}, which no record gives here"
        )
    return tuple(model.cell[name] for name in RUN_FIELDS)


def _read(name: str, runs: Callable[[], Path], metrics: Sequence[str], cluster_field: str | None) -> ModelItems:
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if not EIGHT.fullmatch(name):
            raise UserError(
                f"{name}: no such folder; allowed are a cell's folder, its eight characters, "
                "or a folder with lm-eval's samples_*.jsonl"
            )
        folder = _cell_named(name, runs())
    read: ModelItems | None = None
    if item_files(folder):
        read = read_cell(folder, metrics)
    elif sample_files(folder):
        read = read_samples(folder, metrics, cluster_field)
    if read is None:
        raise UserError(f"{folder}: neither items.parquet in it or its stages, nor lm-eval's samples_*.jsonl")
    if not read.benchmarks:
        wanted = f"the metric {' or '.join(metrics)}" if metrics else "a headline metric"
        why = "".join(f"; {name}: {reason}" for name, reason in read.left_out.items()) if not metrics else ""
        raise UserError(f"{folder}: no benchmark has items of {wanted}{why}")
    return read


def _cell_named(fingerprint: str, runs: Path) -> Path:
    """The one folder below the runs that ends in the eight characters."""
    found = sorted(path for path in runs.glob(f"*/*/*/*-{fingerprint}") if path.is_dir())
    if not found:
        raise UserError(
            f"{fingerprint}: no cell of that name below {runs.absolute()}; execution.runs=FOLDER names another"
        )
    if len(found) > 1:
        raise UserError(f"{fingerprint}: several cells bear it; give one of {', '.join(map(str, found))}")
    return found[0]
