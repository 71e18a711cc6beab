"""The report's chapters: which tables, figures and widgets stand under which heading.

To add a part, write a maker (material -> parts) and name it in its chapter; a maker that raises a ``UserError`` leaves
a note in the part's place, and a chapter without parts is left out.
"""

from collections.abc import Iterator

from analysis.generations import generations_data
from analysis.parts import Chapter, Drawing, Material, Part, Widget, Words
from analysis.payload import benchmarks_data, curves_data, grid_data, mechanism_data, scores_data
from analysis.tables import results_table, stage_table, table_1, table_2, table_3
from analysis.words import methods, missing


def _grid(material: Material) -> Iterator[Part]:
    yield Widget(
        key="grid",
        title="Every cell by its state",
        caption="One square is one cell. Choose a square to read its stages, what it lacks, and errors.",
        data=grid_data(material),
    )
    lines = missing(material)
    if lines:
        yield Words(bullets=lines, warning=True)
    else:
        yield Words(paragraphs=["Nothing is missing: every cell of the grid has every headline score."])


def _scores(material: Material) -> Iterator[Part]:
    yield Widget(
        key="scores",
        title="Aggregates against the prompt weight",
        caption="Means over the complete cells of the base models chosen. Lines are least-squares parabolas through "
        "the points shown: a guide to the eye and not the regression of Table 3. Datasets stand slightly apart.",
        data=scores_data(material.frame, material.study),
    )
    yield from _figure_1(material)
    yield results_table(material.aggregates)


def _figure_1(material: Material) -> Iterator[Part]:
    from analysis.figures import figure_1

    yield Drawing(
        key="figure1_aggregates",
        title="Figure 1. Aggregates against the prompt weight",
        caption="Left the simple, right the relative aggregate; above the mean over base models and seeds with "
        "standard errors over benchmarks and models, below each base model. Lines are least-squares parabolas "
        "through the points shown, a guide to the eye and not the regression of Table 3. Above, the datasets' points "
        "stand slightly apart.",
        alt="Four panels of aggregate scores against the transformed prompt weight, one colour for each dataset.",
        figure=figure_1(material.frame, material.aggregates),
        folded=True,
    )


def _benchmarks(material: Material) -> Iterator[Part]:
    yield Widget(
        key="benchmarks",
        title="Each benchmark by weight",
        caption="Headline score as its harness reports it. A dot is one cell, a line joins the means over the base "
        "models and seeds chosen; filled and hollow dots are different base models. Each panel has its own scale.",
        data=benchmarks_data(material.frame, material.study),
    )


def _regression(material: Material) -> Iterator[Part]:
    yield table_3(material.fits)


def _mechanism(material: Material) -> Iterator[Part]:
    from analysis.figures import figure_2

    data = mechanism_data(material.frame, material.study)
    if not data["panels"]:
        yield Words(paragraphs=["No diagnostic was measured."])
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
    figure = figure_2(material.study.scores, material.frame)
    if figure is not None:
        yield Drawing(
            key="figure2_mechanism",
            title="Figure 2. The mechanism",
            caption="The same four measurements. Boxes are over base models and seeds, whiskers end at the quantiles "
            "0.09 and 0.91, dots are cells, thin lines join the medians.",
            alt="Four panels of box plots by prompt weight, one colour for each dataset.",
            figure=figure,
            folded=True,
        )


def _curves(material: Material) -> Iterator[Part]:
    data = curves_data(material.study)
    if data["cells"]:
        yield Widget(
            key="curves",
            title="Loss by training step",
            caption="Prompt and completion losses are unweighted means per token, so cells compare. The weighted loss "
            "is what was minimised; its scale changes with the prompt weight, so it does not compare across weights. "
            "At PLW 0 the prompt loss is not computed.",
            data=data,
        )


def _generations(material: Material) -> Iterator[Part]:
    data, problems = generations_data(material.study, material.generations)
    if data["sets"]:
        yield Widget(
            key="generations",
            title="Answers of two cells side by side",
            caption="Words that the other cell's answer lacks are marked. A verdict is the judge's on the cell's "
            "answer against the benchmark's reference answer, not against the other cell's.",
            data=data,
        )
    if problems:
        yield Words(bullets=[f"Not read: {problem}" for problem in problems], warning=True)


def _data(material: Material) -> Iterator[Part]:
    if len(material.statistics):
        yield table_1(material.statistics)
    yield table_2(material.frame, material.groups, material.info)


def _time(material: Material) -> Iterator[Part]:
    yield stage_table(material.study.stages)


def _methods(material: Material) -> Iterator[Part]:
    yield Words(bullets=[*methods(material.fits), *material.frame.notes])


CHAPTERS = (
    Chapter(key="grid", title="The grid", makers=[_grid]),
    Chapter(key="scores", title="Scores by weight", makers=[_scores]),
    Chapter(key="regression", title="Does the weight matter?", makers=[_regression]),
    Chapter(key="benchmarks", title="Benchmarks", makers=[_benchmarks]),
    Chapter(key="mechanism", title="Mechanism", makers=[_mechanism]),
    Chapter(key="curves", title="Training", makers=[_curves]),
    Chapter(key="generations", title="Generations", makers=[_generations]),
    Chapter(key="data", title="Datasets and benchmarks", makers=[_data]),
    Chapter(key="time", title="Time", makers=[_time]),
    Chapter(key="methods", title="How each number was made", makers=[_methods]),
)
