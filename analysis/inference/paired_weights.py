"""Each weight of a study against the smallest, and the best against 1, on the items that the paired cells answered."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from analysis.items.benchmark import ModelItems
from analysis.items.compare import Comparison, compare_pairs, holm
from analysis.items.pairs import pair_models
from analysis.items.parquet import item_files, read_cell
from analysis.scores.choice import stage_suite
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import AXES, TidyFrame
from analysis.scores.study import Study
from plw.errors import UserError
from plw.progress import count
from plw.registry.rows import CellRow
from plw.registry.schema import DONE

MARGIN = 0.02
"""Two points: a difference within it, either way, is called none."""
BEST_REFERENCE = 1.0
"""The weight that the best is held against; no other is, since it is the largest that there can be."""
MAX_CELLS_COMPARED = 400
"""Of a study with more cells, their items are not read."""

Run = tuple[object, ...]
"""What a cell is apart from its weight."""


@dataclass(frozen=True, kw_only=True)
class _AtTwoWeights:
    """Where a benchmark is compared, or is not: a dataset, and the weight beside its reference."""

    dataset: str
    group: str
    weight: float
    reference: float

    def _place(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "group": self.group, "weight": self.weight, "reference": self.reference}


@dataclass(frozen=True, kw_only=True)
class WeightComparison(_AtTwoWeights):
    """One benchmark of one dataset at two weights; the difference is that of ``weight`` from ``reference``."""

    found: Comparison
    """Its ``p_holm`` is corrected for all comparisons of the dataset with the same reference."""

    @property
    def from_smallest(self) -> bool:
        """Whether the reference is the dataset's smallest weight; else the best weight is held against 1."""
        return self.reference < BEST_REFERENCE

    def to_dict(self) -> dict[str, Any]:
        """Plain types, the comparison's fields beside the weights; what cannot be told is None."""
        found = asdict(self.found)
        return self._place() | {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in found.items()
        }


@dataclass(frozen=True, kw_only=True)
class NotCompared(_AtTwoWeights):
    """One benchmark of one dataset that cannot be compared at two weights, and why."""

    benchmark: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The fields of ``WeightComparison.to_dict``, None where a comparison would have a number."""
        return self._place() | dict.fromkeys(field.name for field in fields(Comparison)) | {"benchmark": self.benchmark}


def reference_name(rows: Sequence[WeightComparison]) -> str:
    """What the weights of all datasets are held against: ``PLW 0``, or in words where the smallest weights differ."""
    found = {row.reference for row in rows if row.from_smallest}
    return f"PLW {found.pop():g}" if len(found) == 1 else "the smallest weight"


@dataclass(frozen=True, kw_only=True)
class WeightComparisons:
    """All comparisons of a study, and why there are none where there are none."""

    rows: Sequence[WeightComparison] = ()
    notes: Sequence[str] = ()
    left_out: Sequence[NotCompared] = ()
    """What is not among the rows though others of its dataset and weights are."""

    def to_list(self) -> list[dict[str, Any]]:
        """An entry a comparison, then one for each that was not made, with the reason in ``not_compared``."""
        compared = [row.to_dict() | {"not_compared": None} for row in self.rows]
        return compared + [item.to_dict() | {"not_compared": item.reason} for item in self.left_out]


def weight_comparisons(study: Study, frame: TidyFrame, best: Mapping[str, float]) -> WeightComparisons:
    """Compare the cells of the study that the frame shows, paired by everything but the weight.

    The reference is the dataset's smallest weight: 0 where the study has it.

    Args:
        study: Its cells' folders hold the items.
        frame: The study's frame.
        best: Dataset -> the weight that is held against 1.
    """
    shown = set(frame.rows[AXES].itertuples(index=False, name=None))
    cells = [cell for cell in study.cells if tuple(getattr(cell, name) for name in AXES) in shown]
    if len(cells) > MAX_CELLS_COMPARED:
        note = f"The items of {count(len(cells), 'cell')} are not compared here; `plw compare p=0 p=0.1` compares some."
        return WeightComparisons(notes=[note])
    rows: list[WeightComparison] = []
    left_out: list[NotCompared] = []
    notes: list[str] = []
    for dataset in dataset_order({cell.dataset for cell in cells}):
        of_weight = _read(study, [cell for cell in cells if cell.dataset == dataset], notes)
        scored = set(frame.rows.loc[frame.rows["dataset"] == dataset, "benchmark"])
        for reference, weights in _contrasts(of_weight, best.get(dataset)):
            of_reference: list[WeightComparison] = []
            for weight in weights:
                made, without = _compare(study, dataset, (weight, reference), of_weight, scored, notes)
                of_reference += made
                left_out += without
            rows += _corrected(of_reference)
    weights = sorted(frame.rows["prompt_weight"].unique())
    if len(weights) == 1:
        notes.append(f"There is but one prompt weight, PLW {weights[0]:g}: no difference between weights to show.")
    elif not rows and not notes:
        notes.append("No two weights have items in common: the cells keep none, or were run before items were kept.")
    return WeightComparisons(rows=rows, notes=notes, left_out=left_out)


def _contrasts(of_weight: Mapping[float, object], best: float | None) -> Iterator[tuple[float, list[float]]]:
    """Reference -> weights that are held against it."""
    smallest = min(of_weight, default=None)
    if smallest is not None:
        yield smallest, [weight for weight in sorted(of_weight) if weight > smallest]
    if best in of_weight and BEST_REFERENCE in of_weight and best not in (None, smallest, BEST_REFERENCE):
        yield BEST_REFERENCE, [float(best)]


def _read(study: Study, cells: Sequence[CellRow], notes: list[str]) -> dict[float, dict[Run, ModelItems]]:
    """Weight -> run -> items; a cell whose items cannot be read is noted."""
    found: dict[float, dict[Run, ModelItems]] = {}
    for cell in cells:
        folder = study.runs / cell.folder
        stages = _stages(study, cell)
        if not any(path.parent.name in stages for path in item_files(folder)):
            continue
        try:
            items = read_cell(folder, stages=stages)
        except UserError as error:
            notes.append(f"Items not read: {error}")
            continue
        benchmarks = {name: one for name, one in items.benchmarks.items() if name in study.benchmarks.groups}
        run = tuple(getattr(cell, name) for name in AXES if name != "prompt_weight")
        if benchmarks:
            named = replace(items, benchmarks=benchmarks, cell=cell.to_dict())
            found.setdefault(cell.prompt_weight, {})[run] = named
    return found


def _stages(study: Study, cell: CellRow) -> set[str]:
    """Names of the cell's finished stages that scored the suite, and by the judges, that are shown."""
    suite, judges = study.choice.suite, study.choice.judges
    return {
        stage.name
        for stage in study.stages_of(cell)
        if stage.status == DONE
        and stage.kind in ("harness", "judge")
        and stage_suite(stage, {suite}) in ("", suite)
        and (stage.kind != "judge" or stage.name.endswith(judges))
    }


def _compare(
    study: Study,
    dataset: str,
    pair: tuple[float, float],
    of_weight: Mapping[float, Mapping[Run, ModelItems]],
    scored: Collection[str],
    notes: list[str],
) -> tuple[list[WeightComparison], list[NotCompared]]:
    """What is compared of a weight and its reference, and which of the scored benchmarks are not."""
    weight, reference = pair
    a, b = of_weight[reference], of_weight[weight]
    runs = [run for run in a if run in b]
    if not runs:
        return [], []
    try:
        pairs, unpaired = pair_models([a[run] for run in runs], [b[run] for run in runs])
    except UserError as error:
        notes.append(f"{dataset}, PLW {weight:g} against {reference:g}: {error}")
        return [], []
    groups = study.benchmarks.groups
    where: dict[str, Any] = {"dataset": dataset, "weight": weight, "reference": reference}
    made = [WeightComparison(group=groups[row.benchmark], found=row, **where) for row in compare_pairs(pairs, MARGIN)]
    reasons = {item.benchmark: item.reason for item in unpaired}
    unread = set(scored) - {row.found.benchmark for row in made} - set(reasons)
    reasons |= dict.fromkeys(sorted(unread), "no items of it were kept")
    return made, [
        NotCompared(group=groups[name], benchmark=name, reason=reason, **where) for name, reason in reasons.items()
    ]


def _corrected(rows: Sequence[WeightComparison]) -> list[WeightComparison]:
    corrected = holm([row.found.p for row in rows])
    return [replace(row, found=replace(row.found, p_holm=p)) for row, p in zip(rows, corrected, strict=True)]
