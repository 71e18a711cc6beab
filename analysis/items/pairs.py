"""The items that two models have in common, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.items.benchmark import BenchmarkItems, Floats, ModelItems, Texts
from analysis.items.clustered import Codes
from plw.errors import UserError
from plw.results.corpus_metrics import COUNTED
from plw.results.items import MEAN


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """N pairs of outcomes of one benchmark; with several training runs, those of all runs."""

    benchmark: str
    metric: str
    aggregation: str
    higher_is_better: bool | None
    a_NC: Floats
    """Values in one column, or the counts of a corpus metric."""
    b_NC: Floats
    cluster_N: Codes
    """An item is in one cluster with itself in other runs."""
    run_N: Codes
    """Pair of training runs, from 0."""
    unit: str | None = None
    """``base model`` or ``training run``, where there are enough of them to be a sample; None: these runs alone."""
    unit_N: Codes | None = None
    """Code of each pair's unit, from 0."""
    only_in_one: int = 0
    """Items that the other model does not have."""
    unscored: int = 0
    """Pairs left out because one outcome is missing (an unreadable verdict) or is no finite number."""

    @property
    def n(self) -> int:
        """Pairs."""
        return len(self.a_NC)

    @property
    def runs(self) -> int:
        """Training runs."""
        return int(self.run_N.max()) + 1

    @property
    def clusters(self) -> int:
        """Different clusters."""
        return len(np.unique(self.cluster_N))


SAMPLE = 3
"""So many base models, or training runs, are taken for a sample of all that there could be."""
SAMPLE_UNITS = {"base model": ("model",), "training run": ("dataset", "model", "seed")}
"""What a comparison may be a sample of, the widest first -> the fields of a cell that tell one from another."""


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """A benchmark that cannot be compared, and why."""

    benchmark: str
    reason: str


def pair_models(a: Sequence[ModelItems], b: Sequence[ModelItems]) -> tuple[list[Pairs], list[Unpaired]]:
    """Pair the items of two sides, run by run, by the hashes of the documents.

    Args:
        a: One model, or one of each training run.
        b: Of the same runs, in the same order.

    Raises:
        UserError: the same cell twice, suites that differ, no benchmark in common, or no item in common.
    """
    for one, other in zip(a, b, strict=True):
        _refuse_unlike(one, other)
    names = [name for name in a[0].benchmarks if all(name in model.benchmarks for model in (*a, *b))]
    if not names:
        ours, theirs = (", ".join(sorted(model.benchmarks)) for model in (a[0], b[0]))
        raise UserError(f"no benchmark in common: {a[0].label} has {ours}; {b[0].label} has {theirs}")
    pairs: list[Pairs] = []
    left_out: list[Unpaired] = []
    units = {name: _labels(a, fields) for name, fields in SAMPLE_UNITS.items()}
    for name in names:
        found = _pair_benchmark(name, [m.benchmarks[name] for m in a], [m.benchmarks[name] for m in b], units)
        if isinstance(found, Pairs):
            pairs.append(found)
        else:
            left_out.append(found)
    left_out += [
        Unpaired(benchmark=name, reason=_why_absent(name, a, b))
        for name in dict.fromkeys(name for model in (*a, *b) for name in (*model.benchmarks, *model.left_out))
        if name not in names
    ]
    if not pairs:
        said = "; ".join(f"{item.benchmark}: {item.reason}" for item in left_out)
        raise UserError(f"{a[0].label} and {b[0].label} cannot be compared: {said}")
    return pairs, left_out


def _why_absent(name: str, a: Sequence[ModelItems], b: Sequence[ModelItems]) -> str:
    """Why a benchmark is not among those that all models have under the metric to compare."""
    sides = {side: next(_reasons(name, models), None) for side, models in (("A", a), ("B", b))}
    said = [f"{side}: {reason}" for side, reason in sides.items() if reason]
    if not said:
        return "only one of the two has it"
    return sides["A"] if sides["A"] and sides["A"] == sides["B"] else "; ".join(said)


def _reasons(name: str, models: Sequence[ModelItems]) -> Iterator[str]:
    return (model.left_out[name] for model in models if name in model.left_out)


def _labels(models: Sequence[ModelItems], fields: Sequence[str]) -> Texts:
    """What tells the models' cells apart in these fields; all alike where some model has no cell."""
    known = all(model.cell is not None for model in models)
    labels = [str([(model.cell or {}).get(field) for field in fields]) if known else "" for model in models]
    return np.array(labels, dtype=object)


def _sample(units: Mapping[str, Texts], run_N: Codes) -> tuple[str | None, Codes | None]:
    """The widest unit of which there are enough, and each pair's code of it."""
    for name, label_S in units.items():
        code_N = _codes(label_S[run_N])
        if code_N.max() + 1 >= SAMPLE:
            return name, code_N
    return None, None


def _refuse_unlike(a: ModelItems, b: ModelItems) -> None:
    ours, theirs = a.folder.resolve(), b.folder.resolve()
    # Of two registries one cell may stand in both: it was run twice.
    if ours == theirs or ours in theirs.parents or theirs in ours.parents:
        raise UserError(f"A and B are the same cell ({a.label}); give two different ones")
    if a.suites and b.suites and not a.suites & b.suites:
        suites = [", ".join(sorted(model.suites)) for model in (a, b)]
        raise UserError(
            f"A was scored by suite {suites[0]} ({a.label}), B by suite {suites[1]} ({b.label}); "
            "two cells are compared on one suite"
        )


def _pair_benchmark(
    name: str, a: Sequence[BenchmarkItems], b: Sequence[BenchmarkItems], units: Mapping[str, Texts]
) -> Pairs | Unpaired:
    first = a[0]
    metrics = {items.metric for items in (*a, *b)}
    if len(metrics) > 1:
        return Unpaired(benchmark=name, reason=f"the metrics differ: {', '.join(sorted(metrics))}")
    if first.aggregation not in (MEAN, *COUNTED):
        return Unpaired(benchmark=name, reason=f"{first.metric} is neither a mean over items nor made of counts")
    joined = [_join(one, other) for one, other in zip(a, b, strict=True)]
    rows = [np.stack([ours, theirs]) for ours, theirs in joined]
    common = sum(row.shape[1] for row in rows)
    if common == 0:
        return Unpaired(benchmark=name, reason="no item in common; the documents differ")
    a_NC, b_NC = (
        np.concatenate([_outcomes(items)[row[side]] for items, row in zip(models, rows, strict=True)])
        for side, models in enumerate((a, b))
    )
    if a_NC.shape[1] != b_NC.shape[1]:
        return Unpaired(benchmark=name, reason="the counts of the two are of different kinds")
    known_N = np.isfinite(a_NC).all(axis=1) & np.isfinite(b_NC).all(axis=1)
    clusters = np.concatenate([_cluster_names(items)[row[0]] for items, row in zip(a, rows, strict=True)])[known_N]
    runs_N = np.repeat(np.arange(len(rows)), [row.shape[1] for row in rows])[known_N]
    code_N = _codes(clusters)
    if len(clusters) < 2 or code_N.max() == 0:
        what = "one item" if len(clusters) == 1 else "no item with an outcome" if not len(clusters) else "one cluster"
        return Unpaired(benchmark=name, reason=f"only {what} in common; at least two are needed")
    unit, unit_N = _sample(units, runs_N)
    return Pairs(
        benchmark=name,
        metric=first.metric,
        aggregation=first.aggregation,
        higher_is_better=first.higher_is_better if first.higher_is_better is not None else b[0].higher_is_better,
        a_NC=a_NC[known_N],
        b_NC=b_NC[known_N],
        cluster_N=code_N,
        run_N=_codes(runs_N),
        unit=unit,
        unit_N=unit_N,
        only_in_one=sum(len(items.key_N) for items in (*a, *b)) - 2 * common,
        unscored=int((~known_N).sum()),
    )


def _join(a: BenchmarkItems, b: BenchmarkItems) -> tuple[Codes, Codes]:
    """Places of the common items in both, in the order of the first."""
    place_of = {key: place for place, key in enumerate(b.key_N)}
    other_N = np.array([place_of.get(key, -1) for key in a.key_N], dtype=np.intp)
    return np.flatnonzero(other_N >= 0), other_N[other_N >= 0]


def _outcomes(items: BenchmarkItems) -> Floats:
    if items.counts_NC is not None:
        return items.counts_NC
    return items.value_N[:, None]


def _cluster_names(items: BenchmarkItems) -> Texts:
    """The cluster of each item; an item without one is a cluster of its own."""
    own_N = np.array([cluster is None for cluster in items.cluster_N], dtype=bool)
    return np.where(own_N, items.key_N, items.cluster_N)


def _codes(names: Texts | Codes) -> Codes:
    """Numbers from 0, in the order in which the names appear."""
    first: dict[object, int] = {}
    return np.array([first.setdefault(name, len(first)) for name in names.tolist()], dtype=np.intp)
