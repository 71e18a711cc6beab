"""The report on the published grid of weighted instruction tuning: findings, tables, heat maps and a page."""

import json
from collections.abc import Iterator
from pathlib import Path

from analysis.figures.heat_maps import heat_maps, share_figure
from analysis.inference.share_verdicts import published_rows
from analysis.inference.weight_correlations import Covariate
from analysis.published.wit_findings import WitFindings, wit_findings
from analysis.published.wit_grid import (
    AFTER_DPO,
    BENCHMARKS,
    DATASET_RECORDS,
    KNOWN_RATIOS,
    MODEL_PARAMETERS,
    SENSITIVITY,
    WIT_GRID,
    panels,
    printed_gain,
    published_grid,
    read_wit_grid,
    true_average,
)
from analysis.published.wit_weights import KIND_BENCHMARKS
from analysis.report.freshness import write_files
from analysis.report.page import PublishedPage, published_html
from analysis.report.parts import Drawing, Paragraphs, Part, Section
from analysis.report.study_grid import GridStudy
from analysis.report.weight_grid_parts import (
    attempted,
    choice_parts,
    correlation_parts,
    magnitude_parts,
    ratio_parts,
    region_parts,
    surface_parts,
    verdict_parts,
)
from analysis.report.write import make_folder, not_written, rendered
from analysis.tables.published_wit import (
    fixed_pairs_table,
    left_out_table,
    scatter_table,
    shares_table,
    winners_table,
)
from plw.files.hashing import file_hash

FINDINGS = "findings.json"
WIT_PAPER = "On the Effect of Instruction Tuning Loss on Generalization (arXiv 2507.07817)"


def write_wit_report(out: Path) -> Path:
    """Write findings.json, tables (CSV, Markdown, LaTeX), figures (PNG, PDF) and index.html into a folder.

    Returns:
        Path of ``index.html``.

    Raises:
        UserError: the folder cannot be written.
    """
    make_folder(out)
    findings = wit_findings()
    study = published_study()
    sections = [
        Section(key="findings", title="What the grid supports", parts=list(_findings(findings))),
        Section(key="kinds", title="What moves, by kind of benchmark", parts=list(attempted((verdict_parts,), study))),
        Section(key="choice", title="The choice, corrected", parts=list(attempted((choice_parts,), study))),
        Section(key="regions", title="Regions of good weights", parts=list(attempted((region_parts,), study))),
        Section(key="ratio", title="Ratio and magnitude", parts=list(_ratio(findings, study))),
        Section(key="surface", title="Response surface", parts=list(attempted((surface_parts,), study))),
        Section(
            key="correlations",
            title="What the best weights go with",
            parts=list(attempted((correlation_parts,), study)),
        ),
        Section(key="maps", title="Heat maps", parts=list(_maps())),
    ]
    files, names, pictures = rendered(sections)
    files[FINDINGS] = (json.dumps(findings.to_dict(), indent=1, allow_nan=False) + "\n").encode()
    page = PublishedPage(
        name=WIT_PAPER,
        headline=headline(findings),
        counted=[
            "Read off the paper's heat maps: 5 base models, 3 datasets, 35 pairs of weights, one run a cell, so the "
            "numbers hold no repetition but the cells of equal ratio."
        ],
        sections=sections,
        files=names | {"findings": [FINDINGS]},
        pictures=pictures,
    )
    try:
        write_files(out, file_hash(WIT_GRID), files | {"index.html": published_html(page).encode()})
    except OSError as error:
        raise not_written(out, error) from None
    return out / "index.html"


def published_study() -> GridStudy:
    """The published grid, with the sizes of its base models and what is known of its datasets."""
    return GridStudy(
        grid=published_grid(),
        kinds={kind: names for kind, names in KIND_BENCHMARKS.items() if kind != "all"},
        rows=published_rows(),
        covariates=(
            Covariate(name="parameters", level="model", values=MODEL_PARAMETERS),
            Covariate(name="records", level="dataset", values=DATASET_RECORDS),
            Covariate(name="generation ratio", level="dataset", values=KNOWN_RATIOS),
        ),
        unknown=("Length and n-gram overlap: the published files do not say them of any dataset.",),
    )


def headline(findings: WitFindings) -> str:
    """What a reader of one line should know."""
    fixed = findings.best_fixed
    return (
        f"The best of 35 pairs gains {findings.best_gain_mean:.1f} % in the mean and {findings.best_gain_median:.1f} % "
        f"in the median; the best pair for all, ({fixed.prompt_weight:g}, {fixed.response_weight:g}), "
        f"{fixed.mean:.1f} % (interval {fixed.low:.1f} to {fixed.high:.1f}), and a pair chosen without the model that "
        f"it is used on {findings.leave_one_model_out:.1f} %. Cells that differ in the scale of the loss alone, which "
        f"AdamW does not feel, lie {findings.equal_ratio_scatter:.1f} % apart (standard deviation)."
    )


def _findings(findings: WitFindings) -> Iterator[Part]:
    fixed, slope = findings.best_fixed, findings.magnitude
    yield Paragraphs(
        bullets=[
            f"The printed average is the sum of the five benchmarks divided by {findings.average_divisor:.2f}, not by "
            "5. Ratios of averages do not feel that; differences in points are a quarter too large.",
            f"The best cell of each panel lies {findings.best_gain_mean:.2f} % above the usual loss in the mean (the "
            f"paper prints 6.55 %) and {findings.best_gain_median:.2f} % in the median. Its entry of 1.04 % for "
            f"Gemma-2-2B on Alpaca-Cleaned is {findings.gemma_alpaca_gain:.2f} % by its own heat map.",
            f"{findings.winners_at_zero_prompt} of {findings.winners} best cells have λ_p = 0: there the response "
            "weight alone differs from the usual loss, which without clipping is the same training.",
            f"The best pair for every panel, ({fixed.prompt_weight:g}, {fixed.response_weight:g}), gains "
            f"{fixed.mean:.2f} % in the mean ({fixed.low:.2f} to {fixed.high:.2f}), {fixed.median:.2f} % in the "
            f"median, and lies above the usual loss in {fixed.wins} of {findings.winners} panels.",
            f"Chosen without the model it is used on it gains {findings.leave_one_model_out:.2f} %, without the "
            f"dataset {findings.leave_one_dataset_out:.2f} %, and on a benchmark that had no part in the choice "
            f"{findings.leave_one_benchmark_out:.2f} % of that benchmark's own score, in the mean of the five.",
            f"IFEval brings {findings.ifeval_share:.0f} % of the summed gains of the best cells.",
            f"Cells of equal ratio scatter by {findings.equal_ratio_scatter:.2f} %. Doubling both weights changes the "
            f"gain by {slope.slope:.2f} points ({slope.low:.2f} to {slope.high:.2f}; p {slope.p:.2f}).",
        ]
    )
    yield winners_table()
    yield fixed_pairs_table()
    yield left_out_table()
    yield shares_table()


def _maps() -> Iterator[Part]:
    grid = read_wit_grid()
    yield _drawing("average", "Gain of the average", printed_gain(), "percent over (0, 1)")
    yield _drawing("true_average", "Mean of the five benchmarks", true_average(grid), "score", folded=True)
    for name in BENCHMARKS:
        yield _drawing(name.lower(), name, panels(grid, name), "score", folded=True)
    yield _drawing("after_dpo", "Average after DPO", panels(grid, AFTER_DPO), "score", folded=True)
    yield _drawing("posix", "Sensitivity to the prompt (POSIX)", panels(grid, SENSITIVITY), "index", folded=True)


def _drawing(key: str, title: str, values: object, unit: str, *, folded: bool = False) -> Drawing:
    lower = key == SENSITIVITY
    figure = heat_maps(values, unit=unit, diverging=unit.startswith("percent"), lower_is_better=lower)  # type: ignore[arg-type]
    return Drawing(
        key=f"wit_map_{key}",
        title=title,
        caption=f"Star: the {'lowest' if lower else 'highest'} cell; ring: the usual loss (0, 1).",
        alt=f"{title}: fifteen maps over prompt and response weight",
        figure=figure,
        folded=folded,
    )


def _ratio(findings: WitFindings, study: GridStudy) -> Iterator[Part]:
    gain = printed_gain()
    slope = findings.magnitude
    yield Drawing(
        key="wit_share",
        title="Gain by the prompt's share of the weight",
        caption="Thin: a base model, the mean of its cells of equal ratio. Thick: mean of the models with a 95 % "
        "interval (t, four degrees of freedom).",
        alt="Gain over the usual loss by the prompt's share, one plot for each dataset",
        figure=share_figure(gain),
    )
    yield Paragraphs(
        paragraphs=[
            "AdamW divides each gradient by its own running size, so that multiplying a loss by a constant changes "
            f"nothing but rounding, unless gradients are clipped. The grid agrees: {slope.slope:.2f} points a doubling "
            f"of both weights ({slope.low:.2f} to {slope.high:.2f}). So 35 cells are 21 settings, and cells of equal "
            "ratio are the only repetition that the grid has."
        ]
    )
    yield from attempted((ratio_parts, magnitude_parts), study)
    yield scatter_table()
