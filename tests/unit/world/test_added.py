"""Texts added to the world later: put into old worlds, the first study's files untouched, answerable by rule."""

import shutil
from pathlib import Path

import pytest

from plw.config.world import WorldConfig
from plw.errors import UserError
from plw.evaluate.judging.mt_bench_files import GradingPrompts, load_questions
from plw.evaluate.sensitivity.variants import make_variants
from plw.files.hashing import hash_file
from plw.files.reading import read_json, read_rows
from plw.files.writing import write_json_atomic
from plw.world import build
from plw.world.added import ADDED_RECORD, add_texts
from plw.world.facts import World, stream
from plw.world.generative_benchmarks import bbh, ifeval, mmlu
from tests.unit.world.test_metrics_of_tasks import metrics


def test_an_old_world_gets_the_texts_and_keeps_its_own_files(
    tiny_folder: Path, tiny_config: WorldConfig, tmp_path: Path
) -> None:
    old = tmp_path / tiny_folder.name
    shutil.copytree(tiny_folder, old)
    added = read_json(old / ADDED_RECORD)["files"]
    assert not set(added) & set(read_json(old / "world.json")["files"])
    for name in (*added, ADDED_RECORD):
        (old / name).unlink()
    before = {path: hash_file(path) for path in old.rglob("*") if path.is_file()}
    assert build(tiny_config, tmp_path) == old
    assert {path: hash_file(path) for path in before} == before
    assert {name: hash_file(old / name) for name in added} == {name: hash_file(tiny_folder / name) for name in added}


def test_a_world_of_before_a_later_text_gets_it(tiny_folder: Path, tiny_config: WorldConfig, tmp_path: Path) -> None:
    old, natural = tmp_path / tiny_folder.name, "instructions/natural.json"
    shutil.copytree(tiny_folder, old)
    record = read_json(old / ADDED_RECORD)
    del record["files"][natural]
    write_json_atomic(old / ADDED_RECORD, record | {"version": 1})
    (old / natural).unlink()
    before = {path: hash_file(path) for path in old.rglob("*") if path.is_file() and path.name != ADDED_RECORD}
    assert build(tiny_config, tmp_path) == old
    assert {path: hash_file(path) for path in before} == before
    assert hash_file(old / natural) == hash_file(tiny_folder / natural)
    assert natural in read_json(old / ADDED_RECORD)["files"]


def test_a_changed_text_is_told(tiny_folder: Path, tiny_config: WorldConfig, tmp_path: Path) -> None:
    copy = tmp_path / tiny_folder.name
    shutil.copytree(tiny_folder, copy)
    (copy / "benchmarks/world_mmlu.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"world_mmlu\.jsonl is not what the build of the world left"):
        add_texts(copy, tiny_config)


def test_the_dialogues_are_mt_benchs_files(tiny_folder: Path) -> None:
    folder = tiny_folder / "prompts/mt_bench"
    questions = load_questions(folder / "question.jsonl", folder / "reference.jsonl")
    assert {len(question.turns) for question in questions} == {2}
    assert {question.category for question in questions} == {"writing", "reasoning"}
    assert len(GradingPrompts.load(folder / "judge_prompts.jsonl").by_name) == 4


def test_the_questions_have_answers_and_speak_of_the_held_out_half(full_world: World) -> None:
    known = {subject.name for subject in full_world.subjects() if subject.in_training_split}
    for make in (mmlu, bbh):
        documents = make(full_world, 100, stream(0, "x"))
        assert len(documents) == 100
        for document in documents:
            assert len(set(document["choices"])) == 4
            assert metrics().first_named(document, [f"It is {document['answer']}."]) == {"exact_match": 1.0}
            assert not any(name in document["question"].split() for name in known)
    for document in ifeval(full_world, 60, stream(0, "y")):
        assert len(document["instruction_id_list"]) == len(document["kwargs"]) in (1, 2)
        assert len(set(document["instruction_id_list"])) == len(document["instruction_id_list"])


def test_the_worded_prompts_have_wordings(tiny_folder: Path) -> None:
    rows = read_rows(tiny_folder / "prompts/sensitivity.json")
    assert rows
    assert all(
        len(make_variants(row["instruction"], {"spelling": 2, "rewording": 1, "format": 1})) == 5 for _, row in rows
    )
