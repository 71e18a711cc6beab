"""The tidy frame: scales by hand, missing listed, what does not belong refused or left out with a note."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_study import GROUPS, WEIGHTS

from analysis.scores.csv_table import read_columns, read_scores
from analysis.scores.frame import describe_missing, min_max, tidy_frame, weight_from_scale, weight_scale
from plw.errors import UserError
from plw.registry.export import export_csv
from plw.registry.store import Registry


def _read(url, groups=GROUPS):
    with Registry.open(url) as registry:
        return tidy_frame(registry.scores_frame(), groups, registry.cells())


def test_one_row_per_cell_and_benchmark_on_the_unit_scale(make_study):
    url, _ = make_study(weights=(0.0, 0.1, 1.0), value=lambda cell, benchmark, simulated: 40.0 if benchmark in (
        "pandalm", "avin-belo") else 0.25 + cell.prompt_weight / 2)  # fmt: skip
    frame = _read(url)
    rows = frame.rows
    assert len(rows) == 3 * 2 * 3 * 13
    assert rows.loc[rows["benchmark"] == "pandalm", "score01"].eq(0.4).all()
    assert rows.loc[rows["benchmark"] == "arc", "score01"].max() == 0.75
    assert frame.missing.empty
    tenth = rows[rows["prompt_weight"] == 0.1]
    np.testing.assert_allclose(tenth["w_p"], 0.5, atol=1e-5)
    assert set(rows.loc[rows["benchmark"] == "alpaca_eval", "group"]) == {"long_generation"}


def test_a_percentage_stays_one_behind_the_name_of_a_filter(make_study):
    """lm-eval names a metric ``bleu,FILTER`` where a task filters its answers."""
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    filtered = scores.assign(metric=scores["metric"].replace("bleu", "bleu,take_first"))
    plain, named = (tidy_frame(frame, GROUPS).rows for frame in (scores, filtered))
    assert named["metric"].eq("bleu,take_first").any()
    pd.testing.assert_series_equal(named["score01"], plain["score01"])


def test_a_constant_benchmark_has_no_relative_score_and_a_note(make_study):
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",),
                        value=lambda cell, benchmark, simulated: 0.5 if benchmark == "arc" else simulated)  # fmt: skip
    frame = _read(url)
    assert frame.rows.loc[frame.rows["benchmark"] == "arc", "scaled"].isna().all()
    assert frame.rows.loc[frame.rows["benchmark"] != "arc", "scaled"].notna().all()
    assert any("arc on data has the same score everywhere" in note for note in frame.notes)


def test_holes_are_listed_and_nothing_is_filled(make_study):
    def skip(cell, benchmark):
        whole = (cell.dataset, cell.model, cell.prompt_weight) == ("short", "wide", 0.1)
        return whole or (benchmark == "pandalm" and cell.prompt_weight == 1.0 and cell.dataset == "data")

    url, _ = make_study(weights=(0.0, 0.1, 1.0), skip=skip)
    frame = _read(url)
    assert len(frame.rows) == 18 * 13 - 13 - 2
    assert len(frame.missing) == 13 + 2
    assert describe_missing(frame.missing, len(GROUPS)) == [
        "data, deep, PLW 1, seed 42: pandalm",
        "data, wide, PLW 1, seed 42: pandalm",
        "short, wide, PLW 0.1, seed 42: every score",
    ]


def test_a_benchmark_that_the_suite_does_not_name_is_left_out_with_a_note(make_study):
    url, _ = make_study(weights=(0.0, 1.0))
    frame = _read(url, {name: group for name, group in GROUPS.items() if name != "arc"})
    assert "arc" not in set(frame.rows["benchmark"])
    assert frame.notes == ("Left out, because the suite does not name them: arc.",)


def test_the_export_gives_the_same_frame_as_the_registry(make_study, tmp_path):
    url, _ = make_study(weights=(0.0, 0.1, 1.0))
    with Registry.open(url) as registry:
        export_csv(registry, tmp_path / "scores.csv")
    left = _read(url).rows.drop(columns=["normalizer", "scope", "n", "seed"])
    right = tidy_frame(read_scores(tmp_path / "scores.csv"), GROUPS).rows.drop(
        columns=["normalizer", "scope", "n", "seed"]
    )
    pd.testing.assert_frame_equal(left, right)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        ("", "the file is empty"),
        ("study;scale;value\nplw;mini;0,5\n", "semicolons stand between the columns"),
        ("study\tscale\nplw\tmini\n", "tabs stand between the columns"),
        ('[{"study": "plw", "value": 0.5}]', "JSON and no CSV table; save it as CSV"),
        ("study,scale\nplw,mini\n", "column 'dataset' is missing"),
    ],
)
def test_a_bad_export_is_one_line(tmp_path, text, message):
    path = tmp_path / "scores.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_scores(path)


def test_a_column_is_of_one_thing(tmp_path):
    (tmp_path / "scores.csv").write_text("w,score,b\n0,0.5,arc\n")
    with pytest.raises(UserError, match=r"scores.csv: column 'score' is named for two things"):
        read_columns(tmp_path / "scores.csv", units=("score", "score"), labels=("b",))
    with pytest.raises(UserError, match="a parquet table; save it as CSV"):
        read_columns(tmp_path / "scores.parquet", units=("score",))


def test_any_table_with_four_columns_is_read(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("data,task,w,points\nshort,arc,0,20\nshort,arc,1,60\nshort,arc,0.5,\n")
    names = {"dataset": "data", "benchmark": "task", "prompt_weight": "w", "value": "points"}
    frame = tidy_frame(read_scores(path, names, {"metric": "win_rate"}), {"arc": "multiple_choice"})
    assert frame.rows["score01"].tolist() == [0.2, 0.6]
    assert frame.rows["stderr"].isna().all()
    assert frame.missing["prompt_weight"].tolist() == [0.5], "an empty value is a hole, not a zero"
    (note,) = frame.notes
    assert note.startswith("1 ")
    assert "missing" in note
    with pytest.raises(UserError, match="column 'value' is missing; the file has data, task, w, points"):
        read_scores(path, names | {"value": "value"})
    path.write_text("dataset,benchmark,prompt_weight,value\n")
    with pytest.raises(UserError, match="no row under the header"):
        read_scores(path)


def test_a_word_among_the_numbers_of_a_published_table_is_named(tmp_path):
    """A row of the untrained model stands among the weights, as papers print it."""
    path = tmp_path / "grid.csv"
    path.write_text(
        "dataset,model,benchmark,prompt_weight,score\ntulu,llama,mmlu,0.1,41.2\ntulu,llama,mmlu,base,32.0\n"
    )
    with pytest.raises(UserError, match="prompt_weight is 'base', not a number"):
        read_scores(path, {"value": "score"}, {"metric": "win_rate"})


def test_weights_and_columns_are_checked(make_study):
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    with pytest.raises(UserError, match="prompt weight 2; allowed is 0 to 1"):
        tidy_frame(scores.assign(prompt_weight=2.0), GROUPS)
    with pytest.raises(UserError, match="the scores have no column metric"):
        tidy_frame(scores.drop(columns="metric"), GROUPS)


def test_standard_errors_follow_their_scores(make_study):
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",))
    rows = _read(url).rows.set_index("benchmark")
    assert rows.loc["arc", "stderr01"].eq(0.03).all()
    np.testing.assert_allclose(rows.loc["pandalm", "stderr01"], 0.0003)


def test_a_part_of_the_frame_keeps_scales_and_holes(make_study):
    url, _ = make_study(weights=(0.0, 0.1, 1.0), skip=lambda cell, benchmark: (
        benchmark in ("arc", "pandalm") and cell.prompt_weight == 0.1))  # fmt: skip
    whole = _read(url)
    part = whole.of_groups(["multiple_choice"])
    assert set(part.rows["benchmark"]) == {"arc", "piqa", "truthful_mc", "winogrande"} == set(part.groups)
    assert set(part.missing["benchmark"]) == {"arc"}
    assert len(part.missing) == 6
    left = whole.rows[whole.rows["benchmark"] == "piqa"]["scaled"].tolist()
    assert part.rows[part.rows["benchmark"] == "piqa"]["scaled"].tolist() == left


def test_a_number_that_is_none_names_its_row(make_study, tmp_path):
    url, _ = make_study(weights=(0.0,), datasets=("data",))
    with Registry.open(url) as registry:
        export_csv(registry, tmp_path / "scores.csv")
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    lines[3] = lines[3].replace("0.03", "much")
    (tmp_path / "scores.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="row 4: stderr is 'much', not a number"):
        read_scores(tmp_path / "scores.csv")


def test_a_value_outside_its_scale_and_no_scores_are_one_line(make_study):
    url, _ = make_study(weights=(0.0,), value=lambda cell, benchmark, simulated: 40.0, name="wrong")
    with pytest.raises(UserError, match="headline acc is 40; allowed is 0 to 100 for bleu"):
        _read(url)
    url, _ = make_study(weights=(0.0,), skip=lambda cell, benchmark: True, name="empty")
    with pytest.raises(UserError, match="no headline scores"):
        _read(url)


def test_two_headline_scores_of_one_cell_are_refused(make_study):
    url, _ = make_study(weights=(0.0,))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    with pytest.raises(UserError, match="two headline scores"):
        tidy_frame(pd.concat([scores, scores.assign(suite="other")]), GROUPS)


def test_two_cells_of_one_point_are_named_with_what_tells_them_apart(make_study):
    """Such as a study whose epochs were changed and that was run again."""
    url, _ = make_study(weights=(0.0,), datasets=("data",), models=("wide",))
    with Registry.open(url) as registry:
        scores, (cell,) = registry.scores_frame(), registry.cells()
    cells = [
        replace(cell, payload='{"recipe": {"epochs": 1}}'),
        replace(cell, cell="b" * 64, folder="other", created=cell.created + 1, payload='{"recipe": {"epochs": 2}}'),
    ]
    expected = rf"{cell.folder} and other are both of data, wide, PLW 0, seed \d+, and differ in recipe.epochs: 1 -> 2"
    with pytest.raises(UserError, match=expected):
        tidy_frame(pd.concat([scores, scores.assign(cell="b" * 64)]), GROUPS, cells)


@pytest.mark.parametrize("name", ["dataset", "model", "recipe"])
def test_cells_of_one_name_and_two_contents_are_not_drawn_in_one_line(make_study, name):
    """Such as data that were edited after half of the weights were trained: no two cells are of one point."""
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",), models=("wide",))
    with Registry.open(url) as registry:
        scores, (first, second) = registry.scores_frame(), sorted(registry.cells(), key=lambda cell: cell.prompt_weight)
    contents = {field: {"content": "a" * 64} for field in ("dataset", "model", "recipe", "template")}
    first = replace(first, payload=json.dumps(contents), created=1.0)
    other = json.dumps(contents | {name: {"content": "b" * 64}})
    tidy_frame(scores, GROUPS, [first, replace(second, payload=first.payload)])
    expected = f"^{first.folder} and {second.folder} have one {name}.name, {getattr(first, name)}, and differ in {name}"
    with pytest.raises(UserError, match=expected):
        tidy_frame(scores, GROUPS, [first, replace(second, payload=other, created=2.0)])


@pytest.mark.parametrize("by", ["dataset", "model"])
def test_a_recipe_whose_fields_go_by_dataset_or_model_is_one_recipe(make_study, by):
    """As the epochs and rates of study=wit (``study.by_dataset``), whose report was refused."""
    two = {"datasets": ("data", "short")} if by == "dataset" else {"models": ("wide", "deep")}
    url, _ = make_study(weights=(0.0, 1.0), **{"datasets": ("data",), "models": ("wide",), **two})
    with Registry.open(url) as registry:
        scores, cells = registry.scores_frame(), registry.cells()
    of_recipe = {name: {"epochs": number} for number, name in enumerate(sorted({getattr(cell, by) for cell in cells}))}
    cells = [replace(cell, payload=json.dumps({"recipe": of_recipe[getattr(cell, by)]})) for cell in cells]
    assert len(tidy_frame(scores, GROUPS, cells).rows) == len(cells) * len(GROUPS)


@pytest.mark.parametrize(("column", "value"), [("metric", "acc_norm"), ("n", 20)])
def test_a_benchmark_that_was_scored_in_two_ways_is_refused(make_study, column, value):
    """Such as a suite whose limit was changed after half of the cells: each alone is in order."""
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",), models=("wide",))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    changed = (scores["benchmark"] == "piqa") & (scores["prompt_weight"] == 1.0)
    with pytest.raises(UserError, match=rf"piqa was scored in two ways, .* {value} for data, wide, PLW 1"):
        tidy_frame(scores.assign(**{column: scores[column].mask(changed, value)}), GROUPS)


def test_unreadable_verdicts_are_no_other_way_of_scoring(make_study):
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",), models=("wide",))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    fewer = (scores["benchmark"] == "pandalm") & (scores["prompt_weight"] == 1.0)
    tidy_frame(scores.assign(n=scores["n"].mask(fewer, 97)), GROUPS)


@pytest.mark.parametrize(("judge", "left_out", "chosen"), [("a", 1, "world"), ("a", 0, "a"), ("z", 0, "world")])
def test_of_two_judges_the_one_with_more_scores_is_shown_and_of_equals_the_first(make_study, judge, left_out, chosen):
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    of_world = scores[scores["benchmark"] == "pandalm"]
    other = of_world.assign(judge=judge, value=1.0).iloc[left_out:]
    frame = tidy_frame(pd.concat([scores, other]), GROUPS)
    assert frame.rows.query("benchmark == 'pandalm'")["value"].eq(1.0).all() == (chosen == judge)
    assert len(frame.rows) == len(tidy_frame(scores, GROUPS).rows)
    assert any(
        f"pandalm was judged by {', '.join(sorted(['world', judge]))}; the scores of {chosen}" in note
        for note in frame.notes
    )


def test_lower_is_better_is_turned_round(make_study):
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",), models=("wide",))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    turned = tidy_frame(scores.assign(higher_is_better=scores["benchmark"] != "arc"), GROUPS).rows
    straight = tidy_frame(scores, GROUPS).rows
    arc = straight["benchmark"] == "arc"
    np.testing.assert_allclose(turned.loc[arc, "score01"], 1 - straight.loc[arc, "score01"])
    np.testing.assert_allclose(turned.loc[~arc, "score01"], straight.loc[~arc, "score01"])


def test_of_several_variants_the_largest_is_taken_with_a_note(make_study):
    url, _ = make_study(weights=(0.0, 1.0))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    few = scores[scores["dataset"] == "data"].assign(normalizer="weights")
    frame = tidy_frame(pd.concat([scores, few]), GROUPS)
    assert set(frame.rows["normalizer"]) == {"nonzero"}
    (note,) = frame.notes
    assert all(word in note for word in ("2 variants", "response weight 1", "nonzero", "batch"))


def test_weightings_of_the_loss_are_never_one_curve(make_study):
    url, _ = make_study(weights=(0.0, 1.0))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    few = scores[scores["dataset"] == "data"].assign(weighting="dft")
    frame = tidy_frame(pd.concat([scores, few]), GROUPS)
    assert set(frame.rows["weighting"]) == {""}
    assert set(tidy_frame(few, GROUPS).rows["weighting"]) == {"dft"}
    assert "the one with the most cells is shown" in frame.notes[0]
    assert "scope batch, no weighting beyond the two weights" in frame.notes[0]


@pytest.mark.parametrize(
    ("axis", "values", "how", "shown"),
    [
        ("weighting", ("loo", "dft"), "the first by name, of the 2 with the most cells,", "weighting dft"),
        ("weighting", ("loo", ""), "the first by name, of the 2 with", "no weighting beyond the two weights"),
        ("response_weight", (0.5, 1.0), "the one with response weight 1, of the 2 with", "response weight 1"),
        ("normalizer", ("tokens", ""), "the first by name, of the 2 with", "no normalizer"),
    ],
)
def test_of_variants_with_as_many_cells_it_is_said_which_is_taken_and_why(make_study, axis, values, how, shown):
    url, _ = make_study(weights=(0.0, 1.0), datasets=("data",))
    with Registry.open(url) as registry:
        scores = registry.scores_frame()
    (note,) = tidy_frame(pd.concat([scores.assign(**{axis: value}) for value in values]), GROUPS).notes
    assert f"Of 2 variants of the loss, {how}" in note
    assert shown in note


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0.1, 10), st.floats(-5, 5))
def test_min_max_does_not_see_the_unit_or_the_origin(values, factor, origin):
    rows = pd.DataFrame({"dataset": "d", "benchmark": "b", "score01": values})
    scaled = min_max(rows)
    if max(values) == min(values):
        assert scaled.isna().all()
        return
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)
    if max(values) - min(values) > 1e-6:
        moved = min_max(rows.assign(score01=rows["score01"] * factor + origin))
        np.testing.assert_allclose(moved, scaled, atol=1e-6)


@given(st.floats(0, 1))
def test_the_weight_scale_and_its_inverse(weight):
    w_p = float(weight_scale(pd.Series([weight])).iloc[0])
    assert 0 <= w_p <= 1
    assert weight_from_scale(w_p) == pytest.approx(weight, rel=1e-9)


def test_the_papers_weights_land_where_the_paper_says():
    assert [round(float(w), 3) for w in weight_scale(pd.Series(WEIGHTS))] == [
        0.0, 0.101, 0.159, 0.25, 0.328, 0.406, 0.5, 0.656, 0.812, 1.0,
    ]  # fmt: skip
