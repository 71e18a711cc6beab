"""Answers and verdicts for the page: prompts once, every cell's own answers, what is left out said."""

import pytest
from simulated_study import write_answers

from analysis.report.generations import generations_data
from analysis.scores.study import read_study

PROMPTS = [(f"Prompt {i}", "given" if i % 2 else "") for i in range(9)]


def _answer(cell, i):
    return f"{cell.dataset} at {cell.prompt_weight:g} says {i % 2}"


@pytest.fixture
def study(make_study):
    """A study of four cells with answers; the judge could not be read on the last prompt."""
    url, runs = make_study(weights=(0.0, 1.0), datasets=("data", "short"), models=("wide",))
    write_answers(url, runs, PROMPTS, _answer, lambda cell, i: None if i == 8 else cell.prompt_weight)
    return read_study(url, runs, "plw", "mini")


def test_each_cell_has_its_own_answers_and_verdicts(study):
    data, problems = generations_data(study)
    assert problems == []
    (found,) = data["sets"]
    assert (found["benchmark"], found["suite"], found["note"]) == ("pandalm", "world", "all 9 prompts")
    assert found["prompts"] == [list(prompt) for prompt in PROMPTS]
    for index, cell in enumerate(study.cells):
        answers = found["answers"][str(index)]
        assert [data["texts"][text] for text, *_ in answers] == [_answer(cell, i) for i in range(9)]
        assert [finished for *_, finished in answers] == [False] + [True] * 8
        verdicts = found["verdicts"]["oracle"][str(index)]
        assert [points for points, *_ in verdicts] == [cell.prompt_weight] * 8 + [None]
        assert [data["texts"][reply] for _, _, (reply,) in verdicts] == [f"reply {i}" for i in range(9)]
    assert len(data["texts"]) == len(set(data["texts"])) == 8 + 9


@pytest.mark.parametrize(("most", "kept"), [(3, [0, 4, 8]), (1, [0]), (9, list(range(9))), (50, list(range(9)))])
def test_a_limit_spreads_the_prompts_over_the_file(study, most, kept):
    (found,) = generations_data(study, most)[0]["sets"]
    assert found["prompts"] == [list(PROMPTS[i]) for i in kept]
    assert all(len(answers) == len(kept) for answers in found["answers"].values())
    assert ("of 9 prompts, spread evenly" in found["note"]) == (len(kept) < 9)


def test_nothing_is_taken_where_none_are_wanted_and_little_where_there_is_little_room(study, monkeypatch):
    assert generations_data(study, 0)[0]["sets"] == []
    monkeypatch.setattr("analysis.report.generations.ROOM", 300)
    (found,) = generations_data(study)[0]["sets"]
    assert 1 <= len(found["prompts"]) < 9


def test_verdicts_on_other_answers_and_damaged_files_are_not_shown(study):
    folders = [study.runs / cell.folder for cell in study.cells]
    (folders[0] / "judge-world-oracle" / "payload.json").write_text('{"generate": "older", "judge": {"name": "o"}}')
    (folders[1] / "generate-world" / "pandalm.json").write_text("{")
    (folders[2] / "generate-world" / "pandalm.json").write_text('[{"instruction": "Other", "output": "x"}]')
    (folders[3] / "judge-world-oracle" / "pandalm.json").write_text("[{}]")
    data, problems = generations_data(study)
    (found,) = data["sets"]
    assert set(found["answers"]) == {"0", "3"}
    assert found["verdicts"] == {}
    assert len(problems) == 3
    for part in ("not valid JSON", "answers to other prompts of pandalm are not shown", "row 1 has no points"):
        assert sum(part in line for line in problems) == 1, part


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ('[{"instruction": "Prompt 0", "output": 5}]', "row 1: output is '5'; allowed is a text"),
        ('[{"instruction": "Prompt 0", "output": "x", "tokens": "7"}]', "tokens is '7'; allowed is a whole number"),
        ('{"instruction": "Prompt 0"}', "found dict, not a list"),
        ('[{"instruction": "Prompt 0"}]', "row 1 has no output"),
        ("[[]]", "row 1 has no instruction or output"),
        ("\x00", "not valid JSON"),
    ],
)
def test_answers_of_another_kind_are_named_and_the_other_cells_are_shown(study, rows, told):
    (study.runs / study.cells[1].folder / "generate-world" / "pandalm.json").write_text(rows)
    data, problems = generations_data(study)
    assert set(data["sets"][0]["answers"]) == {"0", "2", "3"}
    assert len(problems) == 1
    assert told in problems[0]
    assert "pandalm.json" in problems[0]


def test_answers_turn_by_turn_are_passed_over(study):
    """A line for each cell of study=wit said that MT-Bench's answers could not be read."""
    rows = '[{"question_id": 81, "category": "writing", "turns": ["a", "b"], "output": ["x", "y"]}]'
    for cell in study.cells:
        (study.runs / cell.folder / "generate-world" / "mt_bench.json").write_text(rows)
    data, problems = generations_data(study)
    assert problems == []
    assert [found["benchmark"] for found in data["sets"]] == ["pandalm"]


def test_verdicts_that_are_no_numbers_or_too_few_are_named(study):
    first, second = (study.runs / cell.folder / "judge-world-oracle" / "pandalm.json" for cell in study.cells[:2])
    first.write_text('[{"points": "good"}]')
    second.write_text('[{"points": 1.0}]')
    data, problems = generations_data(study)
    assert set(data["sets"][0]["answers"]) == {"0", "1", "2", "3"}
    assert set(data["sets"][0]["verdicts"]["oracle"]) == {"2", "3"}
    assert sorted(line.partition(": ")[2] for line in problems) == [
        "9 answers to pandalm, but 1 verdicts of oracle: not shown",
        "row 1: points is 'good'; allowed is a number",
    ]
