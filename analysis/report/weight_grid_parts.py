"""What a report says of a grid over both weights, of one's own runs or published: sentences, tables and figures.

What cannot be computed of a grid leaves a line in its place that says why.
"""

from collections.abc import Callable, Iterator

import numpy as np

from analysis.figures.heat_maps import heat_maps
from analysis.figures.weight_surface import surface_figure
from analysis.inference.held_out_choice import HeldOutGain
from analysis.inference.share_verdicts import share_verdicts
from analysis.inference.weight_correlations import NAME_OF_LEVEL, Correlations, best_weight_correlations
from analysis.inference.weight_ratio import MagnitudeTest, RatioGains, magnitude_test, ratio_gains
from analysis.inference.weight_regions import CellError, PanelRegion, good_in, in_region
from analysis.inference.weight_surface import UNWEIGHTED, WeightSurface, fit_weight_surface
from analysis.items.sentences import listed
from analysis.levels import SIGNIFICANCE
from analysis.published.wit_grid import CONVENTIONAL, best_fixed_pair
from analysis.report.parts import Drawing, Paragraphs, Part
from analysis.report.study_grid import GridStudy
from analysis.report.verdict_text import dataset_sentences
from analysis.tables.published_wit import pair_text
from analysis.tables.table import interval_text
from analysis.tables.weight_grid import (
    choice_table,
    correlations_table,
    good_pairs_table,
    magnitude_table,
    ratio_table,
    regions_table,
    share_start,
    share_verdicts_table,
    surface_table,
)
from plw.errors import UserError
from plw.progress import count

WHOLE_SHARE = 0.7
"""An interval of the prompt's share this wide or wider tells nothing of where the top lies."""


def attempted(makers: "tuple[Callable[[GridStudy], Iterator[Part]], ...]", study: GridStudy) -> Iterator[Part]:
    """The parts of some makers; of what cannot be computed a line with the reason."""
    for maker in makers:
        try:
            yield from maker(study)
        except UserError as error:
            yield Paragraphs(bullets=[f"Not computed: {error}."], warning=True)


def verdict_parts(study: GridStudy) -> Iterator[Part]:
    """What moved with the prompt's share, by dataset and kind of benchmark."""
    verdicts = share_verdicts(study.rows)
    if not verdicts:
        raise UserError("verdicts by kind of benchmark need two ratios λ_p / λ_r; there is one")
    datasets = dict.fromkeys(verdict.dataset for verdict in verdicts)
    lines = [
        f"{dataset}. {line}"
        for dataset in datasets
        for line in dataset_sentences(verdicts, dataset, "a prompt share of")
    ]
    yield Paragraphs(
        paragraphs=[
            "By kind of benchmark, over the prompt's share λ_p / (λ_p + λ_r). Points are of 100, against "
            f"{share_start(verdicts)}."
        ],
        bullets=lines,
    )
    yield share_verdicts_table(verdicts)


def choice_parts(study: GridStudy) -> Iterator[Part]:
    """The best of all pairs, corrected for having been chosen."""
    yield Paragraphs(paragraphs=[_choice_words(study.choices, study.grid.gain.shape[1])])
    yield choice_table(study.choices)


def choice_headline(study: GridStudy) -> str:
    """The best of all pairs and what it is worth where it was not chosen, in one sentence."""
    choices = [choice for choice in study.choices if choice.rule == study.choices[0].rule]
    pair = pair_text(best_fixed_pair(study.grid.gain))
    lacking = f", without {listed(study.left_out, 'or')}," if study.left_out else ""
    return (
        f"Over both weights, the best of {count(study.grid.gain.shape[1], 'pair')} (λ_p, λ_r) for all, {pair}, gains "
        f"against the usual loss (0, 1){lacking} {listed([_where(choice) for choice in choices])}."
    )


def _choice_words(choices: list[HeldOutGain], cells: int) -> str:
    lines = [
        f"The largest of {cells} noisy numbers is high by chance alone (the winner's curse), so a best pair must be "
        "measured on what did not choose it."
    ]
    for rule in dict.fromkeys(choice.rule for choice in choices):
        where = [_where(choice) for choice in choices if choice.rule == rule]
        lines.append(f"{rule[0].upper()}{rule[1:]} gains {listed(where)}.")
    elsewhere = [choice for choice in choices if choice.measured_elsewhere]
    if any(np.isnan(choice.low) for choice in elsewhere):
        lines.append("So few base models and datasets give no interval over others.")
    elif elsewhere and not any(choice.low > 0 for choice in elsewhere):
        lines.append("No rule is shown to gain anything on what it was not made on.")
    if not elsewhere:
        lines.append(
            "With one base model, one dataset and one benchmark nothing can be left out to test the choice on."
        )
    return " ".join(lines)


def _where(choice: HeldOutGain) -> str:
    if not choice.measured_elsewhere:
        return f"{choice.mean:z.2f} % where it was chosen"
    what = NAME_OF_LEVEL.get(choice.left_out, choice.left_out)
    interval = "" if np.isnan(choice.low) else f" ({interval_text(choice.low, choice.high)})"
    # The other page has it in percent of the benchmark's own score.
    of = " of the average" if choice.left_out == "benchmark" else ""
    return f"{choice.mean:z.2f} %{of}{interval} on a {what} that had no part in it"


def region_parts(study: GridStudy) -> Iterator[Part]:
    """Regions of good weights."""
    regions, error = study.regions
    yield Paragraphs(paragraphs=[_region_words(regions, error)])
    yield Drawing(
        key="wit_map_regions",
        title="Regions of good weights",
        caption="Gain over the usual loss; a cross marks a pair that is shown to be below the best of its panel. Star: "
        "the highest cell; ring: the usual loss (0, 1).",
        alt="A map over prompt and response weight for each base model and dataset; crosses outside the good region",
        figure=heat_maps(
            study.grid.gain, unit="percent over (0, 1)", diverging=True, good=in_region(study.grid.gain, regions)
        ),
    )
    yield regions_table(regions, error)
    yield good_pairs_table(regions)


def _region_words(regions: list[PanelRegion], error: CellError) -> str:
    sizes = [len(region.good) for region in regions]
    margins = [region.margin for region in regions]
    found = [
        f"The error of a cell is {np.median([region.deviation for region in regions]):.2f} % in the median panel, by "
        f"{error.source}. A pair must lie {np.median(margins):.1f} % below the best of its panel (median; "
        f"{min(margins):.1f} to {max(margins):.1f}) to be shown to be worse.",
        f"So {np.median(sizes):.0f} of {len(regions[0].looked_at)} pairs are not shown to be below the best in the "
        f"median panel ({min(sizes)} to {max(sizes)}).",
    ]
    for pair, name in ((CONVENTIONAL, "The usual loss"), (UNWEIGHTED, "The loss on all tokens alike")):
        held = [region.holds(pair) for region in regions]
        if None not in held:
            found.append(
                f"{name}, {pair_text(pair)}, is among them in {sum(map(bool, held))} of {len(regions)} panels."
            )
    counts = good_in(regions)
    everywhere = [pair_text(pair) for pair, number in counts.items() if number == len(regions)]  # type: ignore[arg-type]
    found.append(
        f"{count(len(everywhere), 'pair')} of weights stand in all of these regions."
        if everywhere
        else f"No pair stands in all of these regions; the most frequent one is in {counts.iloc[0]} of {len(regions)}."
    )
    return " ".join(found)


def ratio_parts(study: GridStudy) -> Iterator[Part]:
    """The direction without the scale."""
    found = ratio_gains(study.grid)
    yield Paragraphs(paragraphs=[_ratio_words(found)])
    yield ratio_table(found)


def _ratio_words(found: RatioGains) -> str:
    shown = [row for row in found.rows if row.shown]
    if shown:
        named = listed([f"{row.ratio:.2g} ({row.mean:+z.2f} %)" for row in shown])
        words = (
            f"By λ_p / λ_r alone, {len(shown)} of {len(found.rows)} ratios are shown to differ from λ_p = 0: {named}."
        )
    else:
        words = f"By λ_p / λ_r alone, none of {len(found.rows)} ratios is shown to differ from λ_p = 0."
    return (
        f"{words} A change beyond {found.excluded:.1f} %, either way, is excluded at every ratio, all of them together "
        f"({found.over})."
    )


def magnitude_parts(study: GridStudy) -> Iterator[Part]:
    """Whether the magnitude matters beside the ratio."""
    test = magnitude_test(study.grid)
    yield Paragraphs(paragraphs=[_magnitude_words(test)])
    if not test.identical:
        yield magnitude_table(test)


def _magnitude_words(test: MagnitudeTest) -> str:
    if test.identical:
        return (
            "Beside the ratio, the magnitude of both weights does not matter at all here: pairs of one ratio score the "
            f"same in each of {count(test.panels, 'panel')}. They are one training, so they tell nothing of chance."
        )
    said = "is shown to matter" if test.shown else "is not shown to matter"
    return (
        f"Beside the ratio, the magnitude of both weights {said}: F({test.df1}, {test.df2}) = {test.f:.2f}, p "
        f"{test.p_permuted:.3f} by permutation, of pairs of one ratio that differ alike in {test.panels} panels. Their "
        f"scatter beyond chance is estimated at {test.spread:.2f} %. A magnitude that helps in one panel and harms in "
        "another is not told from chance by this test: that takes several seeds."
    )


def surface_parts(study: GridStudy) -> Iterator[Part]:
    """The response surface over both weights."""
    scopes = {"all benchmarks": study.grid.benchmarks} | (dict(study.kinds) if len(study.kinds) > 1 else {})
    surfaces, problems = [], {}
    for scope, benchmarks in scopes.items():
        try:
            surfaces.append(fit_weight_surface(study.grid, benchmarks, scope.replace("_", " ")))
        except UserError as error:
            problems[scope] = error
    if not surfaces:
        raise problems["all benchmarks"]
    notes = [f"{scope.replace('_', ' ').capitalize()}: not computed: {error}." for scope, error in problems.items()]
    yield Paragraphs(bullets=[*map(_surface_words, surfaces), *notes])
    yield Drawing(
        key="wit_response_surface",
        title="Response surface",
        caption="Points over the usual loss (0, 1), the ring. Star: the top; dots: tops of surfaces drawn around the "
        "fitted one, slightly spread.",
        alt="Contours of the fitted gain over response weight (across) and prompt weight (up)",
        figure=surface_figure(surfaces),
    )
    yield surface_table(surfaces)


def _surface_words(surface: WeightSurface) -> str:
    low, high = surface.interval()["share"]
    where = (
        "where the top truly lies is not determined"
        if high - low >= WHOLE_SHARE
        else f"the prompt's share there is {low:.2f} to {high:.2f} (95 % interval)"
    )
    gains = [_gain_words(surface, pair) for pair in (CONVENTIONAL, UNWEIGHTED)]
    sample = (
        f"take {listed(list(surface.samples))} for samples of others like them"
        if surface.samples
        else "are of these runs alone"
    )
    return (
        f"{surface.scope.capitalize()}: the surface is highest at {pair_text(_rounded(surface.top))}; {where}. That "
        f"place {listed(gains)}. The intervals allow for the choice of the place, and {sample}."
    )


def _gain_words(surface: WeightSurface, pair: tuple[float, float]) -> str:
    gain = surface.gain_over(pair)
    excluded = f"a gain over it beyond {gain.excluded:.1f} points is excluded at any pair"
    if surface.top == pair:
        return f"is {pair_text(pair)} itself ({excluded})"
    shown = "" if gain.low_chosen > 0 else ", so not shown to be above it"
    interval = interval_text(gain.low_chosen, gain.high_chosen)
    return f"lies {gain.gain:z.2f} points above {pair_text(pair)} ({interval}{shown}; {excluded})"


def _rounded(pair: tuple[float, float]) -> tuple[float, float]:
    return round(pair[0], 2), round(pair[1], 2)


def correlation_parts(study: GridStudy) -> Iterator[Part]:
    """What the best weights go with."""
    found = best_weight_correlations(study.grid, study.covariates)
    yield Paragraphs(paragraphs=[_correlation_words(found)], bullets=[*found.notes, *study.unknown])
    if found.rows:
        yield correlations_table(found)


def _correlation_words(found: Correlations) -> str:
    if not found.rows:
        return "Rank correlations of the best weights cannot be computed:"
    least = min(found.rows, key=lambda row: row.p)
    tested = [row for row in found.rows if row.p < SIGNIFICANCE]
    points = listed([
        f"{count(number, NAME_OF_LEVEL[level])} (p {smallest:.3f} at the least)"
        for number, level, smallest in dict.fromkeys((row.points, row.level, row.smallest_p) for row in found.rows)
    ])  # fmt: skip
    verdict = (
        f"{len(tested)} of {len(found.rows)} have p below {SIGNIFICANCE:g}, before any correction for their number"
        if tested
        else f"none of {len(found.rows)} has p below {SIGNIFICANCE:g}"
    )
    return (
        f"Rank correlations of the best weights: {verdict}. The smallest p is {least.p:.3f}: best {least.target} with "
        f"{least.covariate}, ρ = {least.rho:z.2f}. They rest on few points: {points}."
    )


ANALYSIS_PARTS = (
    verdict_parts,
    choice_parts,
    region_parts,
    ratio_parts,
    magnitude_parts,
    surface_parts,
    correlation_parts,
)
"""In the order in which a report of one's own runs has them."""
