"""The report's chapters: which tables, figures and widgets stand under which heading.

To add a part, write a maker (context -> parts) and name it in its chapter; a maker that raises a ``UserError`` leaves
a note in the part's place, and a chapter without parts is left out.
"""

from collections.abc import Callable, Iterator

from analysis.figures.contours import CONTOURS
from analysis.report.both_weights import both_weights
from analysis.report.catalogue import ALTS, TITLES, make_figure, make_table
from analysis.report.context import Context
from analysis.report.generations import generations_data
from analysis.report.grid_data import grid_data
from analysis.report.parts import Chapter, Drawing, Paragraphs, Part, Widget
from analysis.report.text import left_out, methods, missing_lines
from analysis.report.widget_data import benchmarks_data, curves_data, mechanism_data, scores_data, surface_data
from analysis.scores.mixtures import mixed_libraries
from analysis.tables.paired import noise_sentence


def _tables(*keys: str) -> Callable[[Context], Iterator[Part]]:
    """Maker of the tables of these keys that the study has."""

    def maker(context: Context) -> Iterator[Part]:
        yield from filter(None, (make_table(context, key) for key in keys))

    return maker


def _figures(*keys: str, folded: bool = True) -> Callable[[Context], Iterator[Part]]:
    """Those of the study's figures that it has; folded where a widget beside them shows the same."""

    def maker(context: Context) -> Iterator[Part]:
        for key in keys:
            made = make_figure(context, key)
            if made is not None:
                figure, caption = made
                yield Drawing(key=key, title=TITLES[key], caption=caption, alt=ALTS[key], figure=figure, folded=folded)

    return maker


def _grid(context: Context) -> Iterator[Part]:
    yield Widget(
        key="grid",
        title="Every cell by its state",
        caption="One square is one cell. Choose a square to read its stages, what it lacks, and errors.",
        data=grid_data(context),
    )
    scores = context.study.scores
    shown = scores["headline"].fillna(value=False).astype(bool) & scores["benchmark"].isin(list(context.groups))
    if mixed := mixed_libraries(scores[shown]):
        yield Paragraphs(paragraphs=mixed, warning=True)
    lines = missing_lines(context)
    if lines:
        yield Paragraphs(paragraphs=["Missing, failed or not finished:"], bullets=lines, warning=True)
    else:
        yield Paragraphs(paragraphs=["Nothing is missing: every cell of the grid has every headline score."])


_FURTHER = " Broken lines and hollow points are other suites, recipes and judges of this study, each by its own scores."

_FURTHER_MEANS = (
    " Broken lines are means of other suites, recipes and judges over all base models; they are left out where one "
    "base model is chosen."
)


def _scores(context: Context) -> Iterator[Part]:
    yield Widget(
        key="scores",
        title="Aggregates against the prompt weight",
        caption="Means over the complete cells of the base models chosen. Lines are least-squares parabolas through "
        "the points shown, of fewer than four weights straight from point to point: a guide to the eye and not the "
        "regression of Table 3. Datasets stand slightly apart. "
        "Over all base models and benchmarks the bars are 95% bootstrap intervals, elsewhere one standard error."
        + _FURTHER
        * bool(context.study.further),
        data=scores_data(context),
    )


def _benchmarks(context: Context) -> Iterator[Part]:
    yield Widget(
        key="benchmarks",
        title="Each benchmark by weight",
        caption="Headline score as its harness reports it. A dot is one cell, a line joins the means over the base "
        "models and seeds chosen; filled and hollow dots are different base models. Each panel has its own scale."
        + _FURTHER_MEANS
        * bool(context.study.further),
        data=benchmarks_data(context),
    )


def _surface(context: Context) -> Iterator[Part]:
    data = surface_data(context.ratio)
    if data:
        yield Widget(
            key="surface",
            title="The ratio model",
            caption="Predicted score by prompt weight (spaced as w_p) and generation ratio (spaced by its logarithm): "
            "mean over the benchmarks of te(PLW, R_g, k=3) + benchmark. Between the observed ratios it is the model's.",
            data=data,
        )


def _mechanism(context: Context) -> Iterator[Part]:
    data = mechanism_data(context)
    if not data["panels"]:
        yield Paragraphs(paragraphs=["No diagnostic was measured."])
        return
    yield Widget(
        key="mechanism",
        title="Four measurements by weight",
        caption="Relative standard deviation of the training loss in windows of consecutive steps, mean over the run; "
        "distance of the trained weights from the base model's; corpus BLEU of answers to training prompts; mean "
        "length of the answers to the AlpacaEval prompts. A dot is one cell, filled or hollow by base model; a "
        "line joins the medians.",
        data=data,
    )


def _curves(context: Context) -> Iterator[Part]:
    data = curves_data(context.study)
    if data["cells"]:
        yield Widget(
            key="curves",
            title="Loss by training step",
            caption="Prompt and completion losses are unweighted means per token, so cells compare. The weighted loss "
            "is what was minimised; its scale changes with the prompt weight, so it does not compare across weights. "
            "At PLW 0 the prompt loss is not computed.",
            data=data,
        )


def _generations(context: Context) -> Iterator[Part]:
    data, problems = generations_data(context.study, context.generations)
    if data["sets"]:
        yield Widget(
            key="generations",
            title="Answers of two cells side by side",
            caption="Words that the other cell's answer lacks are marked. A verdict is the judge's on the cell's "
            "answer against the benchmark's reference answer, not against the other cell's.",
            data=data,
        )
    if problems:
        yield Paragraphs(bullets=[f"Not read: {problem}" for problem in problems], warning=True)


def _noise(context: Context) -> Iterator[Part]:
    yield from _tables("noise")(context)
    yield Paragraphs(paragraphs=[noise_sentence(context.noise)])


def _unpaired(context: Context) -> Iterator[Part]:
    if context.comparisons.notes:
        yield Paragraphs(bullets=list(dict.fromkeys(context.comparisons.notes)))


def _methods(context: Context) -> Iterator[Part]:
    yield Paragraphs(bullets=[*methods(context.fits), *left_out(context), *context.frame.notes])


CHAPTERS = (
    Chapter(key="grid", title="The grid", makers=[_grid]),
    Chapter(
        key="scores",
        title="Scores by weight",
        makers=[_scores, _figures("figure1_aggregates"), _tables("results", "intervals")],
    ),
    Chapter(
        key="regression",
        title="Does the weight matter?",
        makers=[
            _tables("table3_regression", "sensitivity", "residuals"),
            _figures("figure_residuals"),
        ],
    ),
    Chapter(key="both-weights", title="Both weights", makers=[both_weights]),
    Chapter(
        key="comparisons",
        title="Which differences are shown, item by item?",
        makers=[_figures("figure_forest", folded=False), _tables("comparisons"), _unpaired, _noise],
    ),
    Chapter(
        key="choice",
        title="Which weight, and what is choosing it worth?",
        makers=[_figures("figure_gains", folded=False), _tables("gains", "selection", "seeds")],
    ),
    Chapter(
        key="ratio",
        title="Which weight for which generation ratio?",
        makers=[_surface, _tables("table4_optima"), _figures(*CONTOURS)],
    ),
    Chapter(
        key="benchmarks",
        title="Benchmarks",
        makers=[
            _benchmarks,
            _figures("figure4_multiple_choice", "figure5_short_generation", "figure6_long_generation"),
            _tables("groups", "benchmarks"),
        ],
    ),
    Chapter(key="mechanism", title="Mechanism", makers=[_mechanism, _figures("figure2_mechanism")]),
    Chapter(key="ablation", title="The weight against other regularisers", makers=[_tables("ablation")]),
    Chapter(key="curves", title="Training", makers=[_curves, _tables("preferences")]),
    Chapter(key="generations", title="Generations", makers=[_generations]),
    Chapter(key="published", title="Beside the published numbers", makers=[_tables("differences")]),
    Chapter(key="data", title="Datasets and benchmarks", makers=[_tables("table1_datasets", "table2_benchmarks")]),
    Chapter(key="others", title="What else this study holds", makers=[_tables("others")]),
    Chapter(key="time", title="Time", makers=[_tables("stage_times")]),
    Chapter(key="methods", title="How each number was made", makers=[_methods]),
)
