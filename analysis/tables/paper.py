"""The study's tables: raw numbers for CSV, and the same as a person reads them for Markdown and HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd

from analysis.inference.regression import Regression
from analysis.scores.aggregates import AGGREGATE_COLUMNS
from analysis.scores.datasets import dataset_order
from analysis.scores.frame import TidyFrame
from analysis.tables.table import (
    NOT_COMPARED,
    SHOWN_SERIES,
    UNLIKE,
    Table,
    number,
    p_value,
    significant,
    texts,
    with_error,
)
from plw.registry.rows import StageRow
from plw.registry.schema import DONE, FAILED, RUNNING

GROUP_NAMES = {
    "multiple_choice": "multiple choice",
    "short_generation": "short generation",
    "translation": "translation",
    "long_generation": "long generation",
}


def table_1(statistics: pd.DataFrame) -> Table:
    """Table 1: lengths of the datasets' fields in tokens, and the generation ratio R_g."""
    columns = ["dataset"]
    if statistics["dataset"].duplicated().any():
        columns.append("models")
    shown = statistics[columns].copy()
    for name in ("instruction", "input", "completion"):
        pairs = statistics[[f"{name}_mean", f"{name}_sd"]].itertuples(index=False)
        shown[name] = [f"{number(mean, 2)} ({number(deviation, 2)})" for mean, deviation in pairs]
    for name, label in (("examples", "examples"), ("total_tokens", "total tokens")):
        shown[label] = [number(value, 0) for value in statistics[name]]
    shown["R_g"] = [significant(value) for value in statistics["r_g"]]
    shown["mean of ratios"] = [significant(value) for value in statistics["r_g_mean_of_ratios"]]
    for name, label in (("truncated", "truncated"), ("without_completion", "without completion")):
        shown[label] = [number(value, 0) for value in statistics[name]]
    caption = (
        "Mean (standard deviation) of tokens per example, template excluded. R_g is the mean completion divided by the "
        "mean of instruction and input together. Truncated examples lost their end, some of them the whole completion."
    )
    return Table(key="table1_datasets", title="Table 1. Datasets", raw=statistics, shown=shown, caption=caption)


def table_2(frame: TidyFrame, groups: Mapping[str, str], info: Mapping[str, Mapping[str, Any]]) -> Table:
    """Table 2: the benchmarks with task, shots, type, headline metric and number of documents."""
    measured = frame.rows.groupby("benchmark").agg(metric=("metric", "first"), low=("n", "min"), high=("n", "max"))
    rows = []
    order = [*GROUP_NAMES, *sorted(set(groups.values()) - set(GROUP_NAMES))]
    for benchmark in sorted(groups, key=lambda name: (order.index(groups[name]), name)):
        about = info.get(benchmark, {})
        row = {
            "benchmark": benchmark,
            "task": about.get("task"),
            "shots": about.get("shots"),
            "group": groups[benchmark],
        }
        seen = measured.loc[benchmark] if benchmark in measured.index else None
        low, high = (None, None) if seen is None else (seen["low"], seen["high"])
        n = None if pd.isna(low) else str(low) if low == high else f"{low} to {high}"
        rows.append(row | {"metric": about.get("metric") if seen is None else seen["metric"], "n": n})
    raw = pd.DataFrame(rows)
    shown = raw.assign(group=[GROUP_NAMES.get(name, name) for name in raw["group"]]).rename(
        columns={"group": "type", "metric": "headline metric"}
    )
    caption = "n is the number of documents or judged answers behind each score."
    return Table(key="table2_benchmarks", title="Table 2. Benchmarks", raw=raw, shown=texts(shown), caption=caption)


def table_3(fits: Sequence[Regression]) -> Table:
    """Table 3: the regression of the relative scores on the weight, one row per dataset."""
    names = [item.name for item in fields(Regression) if item.name not in ("messages", "details", "fit")]
    raw = pd.DataFrame(
        [{name: getattr(fit, name) for name in names} | {"messages": "; ".join(fit.messages)} for fit in fits]
    )
    order = dataset_order(fit.dataset for fit in fits)
    rows = [
        {
            "dataset": fit.dataset,
            "p": p_value(fit.p),
            "p (F)": p_value(fit.p_f),
            "w_p": with_error(fit.w, fit.w_se),
            "w_p²": with_error(fit.w2, fit.w2_se),
            "intercept": with_error(fit.intercept, fit.intercept_se),
            "λ*": _optimum(fit),
            "n": str(fit.n),
            "fit": fit.engine,
            "remarks": fit.messages[0] if fit.messages else "",
        }
        for fit in sorted(fits, key=lambda fit: order.index(fit.dataset))
    ]
    caption = (
        "score ~ w_p + w_p², w_p = PLW ** 0.30103, scores min-max scaled within dataset and benchmark; coefficient "
        "(standard error). p is of Wald's test that both terms are 0, as in the paper; p (F) holds the same "
        "statistic against F, which keeps its level where benchmarks are few. λ* is the weight at the top of the curve "
        "[its 95% interval], given where it has one within 0 and 1. All messages of the fits stand in the CSV."
    )
    return Table(
        key="table3_regression", title="Table 3. Regression", raw=raw, shown=pd.DataFrame(rows), caption=caption
    )


def _optimum(fit: Regression) -> str:
    low, high = (getattr(fit, f"optimum_{end}", None) for end in ("low", "high"))
    interval = "" if low is None or high is None else f" [{significant(low)}, {significant(high)}]"
    return significant(fit.optimum) + interval


def results_table(table: pd.DataFrame, further: Mapping[str, pd.DataFrame] | None = None) -> Table:
    """Both aggregates by weight and dataset, the best weight of each starred.

    Args:
        table: from ``aggregates``.
        further: label -> the table of another suite, recipe or judge; its rows follow, named in a column ``series``.
    """
    datasets = dataset_order(table["dataset"])
    raw, shown = table, _results_shown(table, datasets)
    if further:
        tables = {SHOWN_SERIES: table, **further}
        raw = pd.concat([of.assign(series=label) for label, of in tables.items()], ignore_index=True)
        parts = [_results_shown(of, datasets).assign(series=label) for label, of in tables.items()]
        shown = pd.concat(parts, ignore_index=True)
        raw, shown = (of[["series", *of.columns.drop("series")]] for of in (raw, shown))
    unlike = not raw["compared"].all()
    caption = (
        "Aggregate (standard error over benchmarks, models and seeds); * the best weight of the column. Simple: mean "
        "of the headline scores on 0 to 1. Relative: mean of the scores min-max scaled within dataset and benchmark."
        + " Series: other suites, recipes and judges, each on its own benchmarks and scale." * bool(further)
        + f" {NOT_COMPARED}" * unlike
    )
    return Table(key="results", title="Aggregates by weight and dataset", raw=raw, shown=shown, caption=caption)


def _results_shown(table: pd.DataFrame, datasets: Sequence[str]) -> pd.DataFrame:
    shown = pd.DataFrame({"PLW": [f"{weight:g}" for weight in sorted(set(table["prompt_weight"]))]})
    for dataset in datasets:
        texts = {f"{row.prompt_weight:g}": row for row in table[table["dataset"] == dataset].itertuples()}
        for kind in AGGREGATE_COLUMNS:
            column = [
                with_error(getattr(texts[w], kind), getattr(texts[w], f"{kind}_se"))
                + "*" * getattr(texts[w], f"best_{kind}")
                + UNLIKE * (not texts[w].compared)
                if w in texts
                else "–"
                for w in shown["PLW"]
            ]
            shown[f"{dataset}, {kind}"] = column
    return shown


def stage_table(stages: Sequence[StageRow]) -> Table:
    """Where the time went: seconds by kind of stage."""
    rows = []
    total = sum(stage.seconds or 0.0 for stage in stages if stage.status == DONE)
    for kind in sorted({stage.kind for stage in stages}):
        of_kind = [stage for stage in stages if stage.kind == kind]
        seconds = [stage.seconds for stage in of_kind if stage.status == DONE and stage.seconds is not None]
        counts = {state: sum(stage.status == state for stage in of_kind) for state in (DONE, FAILED, RUNNING)}
        spent = {"seconds": sum(seconds), "mean_seconds": sum(seconds) / len(seconds) if seconds else None}
        rows.append({"stage": kind, **counts, **spent, "share": sum(seconds) / total if total else None})
    raw = pd.DataFrame(rows, columns=["stage", DONE, FAILED, RUNNING, "seconds", "mean_seconds", "share"])
    shown = texts(raw[["stage", DONE, FAILED, RUNNING]])
    shown["seconds"] = [number(value, 1) for value in raw["seconds"]]
    shown["mean seconds"] = [number(value, 2) for value in raw["mean_seconds"]]
    shown["share"] = ["–" if pd.isna(value) else f"{value:.1%}" for value in raw["share"]]
    caption = "Seconds of finished stages, added over workers; a stage that was tried again counts its last attempt."
    return Table(key="stage_times", title="Time by stage", raw=raw, shown=shown, caption=caption)
