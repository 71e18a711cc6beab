"""Of several suites, recipes and judges of a study one is shown, the one asked for or the newest; the rest is named."""

from dataclasses import replace

import pandas as pd
import pytest
from simulated_study import GROUPS, headline, write_stage

from analysis.scores.benchmarks import Benchmarks, asked_benchmarks
from analysis.scores.choice import StudyChoice, Wanted, choose, chosen_rows, stage_suite
from analysis.scores.study import read_study, study_frame
from plw.errors import UserError
from plw.files.writing import write_json_atomic
from plw.registry.rows import StageRow
from plw.registry.store import Registry

OWN = {"mine": "short_generation", "letters": "long_generation"}


def scores(*rows):
    """Headline scores of (suite, recipe, judge, finished)."""
    names = ["suite", "recipe", "judge", "finished"]
    return pd.DataFrame(rows, columns=names).assign(cell="c", benchmark="b")


def test_the_newest_is_taken_and_the_others_are_named():
    found = choose(scores(("old", "a", "", 9.0), ("new", "a", "x", 11.0), ("new", "b", "y", 12.0)), Wanted())
    assert (found.suite, found.recipe, found.judge) == ("new", "b", "y")
    assert found.newest == {"suite", "recipe"}
    assert {(other.kind, other.name) for other in found.others} == {("suite", "old"), ("recipe", "a")}
    assert found.text == "suite new (the newest of 2), recipe b (the newest of 2), judge y"


def test_what_is_asked_for_is_taken_and_what_is_not_there_is_refused():
    table = scores(("old", "a", "", 9.0), ("new", "a", "x", 11.0))
    found = choose(table, Wanted(suite="old"))
    assert (found.suite, found.judge, found.newest) == ("old", "", frozenset())
    with pytest.raises(UserError, match=r"--suite other: .*new, old"):
        choose(table, Wanted(suite="other"))
    with pytest.raises(UserError, match=r"--judge x: .*it has none"):
        choose(table, Wanted(suite="old", judge="x"))


def test_a_regularisers_recipe_does_not_hide_the_recipe_that_it_varies():
    table = scores(("s", "mini", "", 1.0), ("s", "mini-dropout", "", 9.0), ("s", "mini-weight-decay", "", 8.0))
    assert choose(table, Wanted()).recipe == "mini"
    assert choose(table, Wanted(recipe="mini-dropout")).recipe == "mini-dropout"
    assert choose(table[1:], Wanted()).recipe == "mini-dropout"


def test_a_study_without_scores_has_nothing_to_choose():
    assert choose(scores(), Wanted()) == StudyChoice()


@pytest.mark.parametrize(
    ("name", "kind", "suite"),
    [
        ("train", "train", ""),
        ("harness-own", "harness", "own"),
        ("generate-own-long", "generate", "own-long"),
        ("diagnose-own", "diagnose", "own"),
        ("judge-own-first", "judge", "own"),
        ("judge-own-long-first", "judge", "own-long"),
        ("judge-other-first", "judge", ""),
    ],
)
def test_a_stage_tells_its_suite(name, kind, suite):
    stage = StageRow(
        study="plw", scale="mini", cell="c", name=name, kind=kind, fingerprint="f", status="done", attempts=1
    )
    assert stage_suite(stage, ["own", "own-long"]) == suite


@pytest.fixture
def two_suites(make_study):
    """Eight cells with the suite world, and half of them with an own suite, made later, that two judges judged."""
    url, runs = make_study(weights=(0.0, 0.01, 0.1, 1.0), datasets=("short",))
    with Registry.open(url) as registry:
        for place, cell in enumerate(registry.cells()[:4]):
            write_json_atomic(
                runs / cell.folder / "harness-own" / "payload.json",
                {"tasks": {"mine": {"task": "my_task", "shots": 2, "metric": "acc_norm"}}},
            )
            found = [replace(headline("arc", 0.1 * place), suite="own", benchmark="mine")]
            write_stage(registry, runs, cell, "harness-own", found, kind="harness", finished=20.0,
                        groups={"mine": "short_generation"})  # fmt: skip
            for judge, end in (("first", 21.0), ("second", 22.0)):
                write_json_atomic(
                    runs / cell.folder / f"judge-own-{judge}" / "payload.json", {"protocols": {"letters": "pandalm"}}
                )
                points = replace(headline("pandalm", 50.0 + end, judge=judge), suite="own", benchmark="letters")
                write_stage(registry, runs, cell, f"judge-own-{judge}", [points], kind="judge", finished=end)
    return url, runs


def test_the_benchmarks_are_those_of_the_newest_suites_records_and_not_of_a_config(two_suites):
    study = read_study(*two_suites, "plw", "mini", configured=lambda name: Benchmarks(groups=GROUPS))
    assert (study.choice.suite, study.choice.judge) == ("own", "second")
    assert study.benchmarks.groups == OWN
    assert study.benchmarks.info["mine"] == {"task": "my_task", "shots": "2", "metric": "acc_norm"}
    frame = study_frame(study)
    assert len(study.cells) == 4, "cells that the suite was not asked of are no part of it"
    assert set(frame.rows["benchmark"]) == set(OWN)
    assert set(frame.rows.loc[frame.rows["benchmark"] == "letters", "value"]) == {72.0}
    assert frame.missing.empty


@pytest.mark.parametrize(
    ("ended", "shots"),
    [
        ([("done", 5.0), ("done", 9.0), ("failed", 20.0)], "1"),
        ([("failed", 9.0), ("done", 5.0), ("running", None)], "1"),
        ([("failed", 5.0), ("failed", 9.0)], "1"),
        ([("done", 9.0), ("done", 9.5), ("done", 9.2)], "1"),
    ],
)
def test_the_newest_stage_says_what_was_asked_and_one_that_is_done_before_one_that_failed(tmp_path, ended, shots):
    folders, stages = {}, []
    for place, (status, finished) in enumerate(ended):
        cell = f"cell {place}"
        folders[cell] = tmp_path / cell
        asked = {"tasks": {"mine": {"task": "t", "shots": place, "metric": "acc"}}}
        write_json_atomic(folders[cell] / "harness-own/payload.json", asked)
        stages.append(
            StageRow(study="plw", scale="mini", cell=cell, name="harness-own", kind="harness", fingerprint="f",
                     status=status, attempts=1, finished=finished)
        )  # fmt: skip
    headline_scores = pd.DataFrame(columns=["benchmark", "metric", "judge"])
    for order in (stages, stages[::-1]):
        found, _ = asked_benchmarks(headline_scores, order, folders, StudyChoice(suite="own"))
        assert found.info["mine"]["shots"] == shots


def test_another_suite_or_judge_is_read_by_its_name(two_suites):
    world = read_study(*two_suites, "plw", "mini", wanted=Wanted(suite="world"))
    frame = study_frame(world)
    assert (world.choice.suite, len(world.cells)) == ("world", 8)
    assert set(frame.rows["benchmark"]) == set(GROUPS)
    assert frame.groups == dict(GROUPS) | {"truthful_gen": "multiple_choice"}
    assert any("truthful_gen counts as multiple choice" in note for note in frame.notes), "told by its metric, acc"
    first = study_frame(read_study(*two_suites, "plw", "mini", wanted=Wanted(judge="first"))).rows
    assert set(first.loc[first["benchmark"] == "letters", "value"]) == {71.0}


def test_what_is_not_chosen_is_a_further_series_with_its_own_scores(two_suites):
    study = read_study(*two_suites, "plw", "mini")
    assert [series.label for series in study.further] == ["judge first (2 benchmarks)", "suite world (13 benchmarks)"]
    first, world = study.further
    letters = first.curves[first.curves["benchmark"] == "letters"]
    assert letters["mean"].tolist() == pytest.approx([0.71] * 4)
    assert first.aggregates["simple"].tolist() == pytest.approx([(0.1 * n + 0.71) / 2 for n in range(4)])
    alone = study_frame(read_study(*two_suites, "plw", "mini", wanted=Wanted(suite="world")))
    assert world.frame.rows.equals(alone.rows), "as a report of it alone shows it"
    assert not [note for note in study.notes if note.startswith("Not drawn")]
    assert read_study(*two_suites, "plw", "mini", wanted=Wanted(judge="first")).further[0].name == "judge second"


def test_another_suite_is_shown_with_the_recipe_of_the_choice_and_not_with_a_newer_one(two_suites):
    url, runs = two_suites
    with Registry.open(url) as registry:
        first = registry.cells()[0]
        for recipe, suite, score, end in (("a", "own", 0.6, 50), ("a", "world", 0.7, 51), ("b", "world", 0.9, 99)):
            cell = registry.ensure_cell(replace(first, cell=recipe, recipe=recipe, folder=f"{first.folder}-{recipe}"))
            found = [replace(headline("arc", score), suite=suite)]
            write_stage(registry, runs, cell, f"harness-{suite}", found, kind="harness", finished=end)
    study = read_study(url, runs, "plw", "mini", wanted=Wanted(suite="own"))
    assert (study.choice.suite, study.choice.recipe) == ("own", "a")
    (world,) = [series for series in study.further if series.name == "suite world"]
    assert world.frame.rows["value"].tolist() == [0.7]


def test_a_further_series_on_other_datasets_is_named_and_not_drawn(two_suites):
    url, runs = two_suites
    with Registry.open(url) as registry:
        cell = registry.ensure_cell(
            replace(registry.cells()[0], cell="d" * 64, dataset="elsewhere", folder="plw-mini/elsewhere")
        )
        found = [replace(headline("arc", 0.5), suite="away", benchmark="mine")]
        write_stage(registry, runs, cell, "harness-away", found, kind="harness", finished=5.0)
    study = read_study(url, runs, "plw", "mini")
    assert "suite away" not in [series.name for series in study.further]
    assert "Not drawn: suite away: it has none of the datasets shown." in study.notes


def test_a_benchmark_of_another_judge_is_shown_unless_a_judge_is_named(two_suites):
    url, runs = two_suites
    with Registry.open(url) as registry:
        for cell in registry.cells()[:4]:
            songs = replace(headline("pandalm", 10.0, judge="first"), suite="own", benchmark="songs")
            write_stage(registry, runs, cell, "judge-own-more-first", [songs], kind="judge", finished=19.0)
    frame = study_frame(read_study(url, runs, "plw", "mini"))
    assert set(frame.rows["benchmark"]) == {*OWN, "songs"}
    named = study_frame(read_study(url, runs, "plw", "mini", wanted=Wanted(judge="second")))
    assert set(named.rows["benchmark"]) == set(OWN)


def test_judges_of_different_benchmarks_are_shown_together():
    """As the two of the WIT paper, and of the PLW paper: the page said that the first was not counted, and it was."""
    rows = [("alpaca_eval", "a", 1.0), ("mt_bench", "b", 2.0), ("arc", "", 3.0)]
    table = pd.DataFrame(rows, columns=["benchmark", "judge", "finished"]).assign(suite="s", recipe="r", cell="c")
    found = choose(table, Wanted())
    assert (found.judges, found.others, found.newest) == (("b", "a"), (), frozenset())
    assert found.text == "suite s, recipe r, judge b, of alpaca_eval judge a"
    assert set(chosen_rows(table, found, Wanted())["benchmark"]) == {"alpaca_eval", "mt_bench", "arc"}
    again = choose(pd.concat([table, table.iloc[[1]].assign(judge="a", finished=0.0)]), Wanted())
    assert [other.name for other in again.others] == ["a"], "its other benchmark is not shown"
    assert choose(table, Wanted(judge="b")).beside == ()


def test_the_recipes_cells_alone_are_in_the_frame(make_study):
    url, runs = make_study(weights=(0.0, 1.0), datasets=("short",), models=("wide",), skip=lambda cell, name: True)
    with Registry.open(url) as registry:
        first, second = registry.cells()
        for number, (recipe, cell) in enumerate((("old", first), ("old", second), ("new", first))):
            row = replace(cell, cell="abc"[number] * 64, recipe=recipe, folder=f"plw-mini/{number}")
            found = [headline("arc", number / 10)]
            write_stage(registry, runs, registry.ensure_cell(row), "harness", found, finished=50.0 + number)
    study = read_study(url, runs, "plw", "mini")
    assert study.choice.recipe == "new"
    assert study_frame(study).rows["value"].tolist() == [0.2]
    old = read_study(url, runs, "plw", "mini", wanted=Wanted(recipe="old"))
    assert study_frame(old).rows["value"].tolist() == [0.0, 0.1]
