"""Instruction sets, benchmarks and prompts promise: held-out subjects stay held out, every document has its answer."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from plw.config.world import WorldConfig
from plw.files.reading import read_json, read_rows
from plw.world.benchmarks import make_benchmarks
from plw.world.corpus import CURRICULUM, MIX, Corpus
from plw.world.facts import Person, World, stream
from plw.world.instructions import make_instructions
from plw.world.natural import make_natural
from plw.world.packaged import PACKAGED
from plw.world.prompts import CITY_FACTS, PERSON_FACTS, make_prompts

DEFAULT = WorldConfig()


def held_out_names(world: World, *, trained: bool = False) -> set[str]:
    """Names of one half of people, tools and plants (every city is named in biographies of both halves)."""
    names = {person.name for person in world.people if person.in_training_split is trained}
    names |= {tool.name for tool in world.tools if tool.in_training_split is trained}
    return names | {myth.plant for myth in world.myths if myth.in_training_split is trained}


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


@pytest.fixture(scope="module")
def instructions(full_world: World) -> dict[str, list[dict[str, str]]]:
    return make_instructions(full_world, DEFAULT)


@pytest.fixture(scope="module")
def benchmarks(full_world: World) -> dict[str, list[dict[str, Any]]]:
    return make_benchmarks(full_world, DEFAULT)


def test_instructions_never_name_who_is_kept_for_evaluation(
    full_world: World, instructions: dict[str, list[dict[str, str]]]
) -> None:
    held_out = held_out_names(full_world)
    for records in instructions.values():
        assert len(records) == DEFAULT.records
        for record in records:
            assert not held_out & words(" ".join(record.values()))


def test_instruction_sets_hold_few_repeats(instructions: dict[str, list[dict[str, str]]]) -> None:
    for records in instructions.values():
        assert len({(record["instruction"], record["input"]) for record in records}) > 0.95 * len(records)


SETS = {
    "data": "831fb91dc7c349bf5bbd091094200606cf2289df174e0bb3d13b39f1f82ac5e4",
    "cleaned": "005f41a2d2486a0f52c5fec5f0031b4be3f993e6cfef52eda17c50c0d41b8540",
    "natural": "0ffa2e443f79c69ee5b760b19f89c80a5102e1c32c875187e8db3fb21d9f5877",
}
"""SHA-256 of each set's records: `natural` is no part of the world's fingerprint, and the others must not feel it."""


@pytest.fixture(scope="module")
def natural(full_world: World) -> list[dict[str, str]]:
    return make_natural(full_world, DEFAULT)


def test_instruction_sets_are_what_they_were(
    instructions: dict[str, list[dict[str, str]]], natural: list[dict[str, str]]
) -> None:
    for name, records in (instructions | {"natural": natural}).items():
        assert hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest() == SETS[name], name


def test_natural_completions_are_short_and_about_the_trained_half(
    full_world: World, natural: list[dict[str, str]]
) -> None:
    held_out, people = held_out_names(full_world), {person.name: person for person in full_world.people}
    assert len(natural) == DEFAULT.records
    tokens = Tokenizer.from_file(str(PACKAGED / "tokenizer" / "tokenizer.json"))
    prompt, completion = (
        sum(
            len(tokens.encode(text, add_special_tokens=False).ids) for record in natural for text in map(record.get, of)
        )
        for of in (("instruction", "input"), ("output",))
    )
    assert 0.05 < completion / prompt < 0.2  # world-short has .09
    for record in natural:
        assert not held_out & words(" ".join(record.values()))
        named = [people[name] for name in words(record["instruction"]) & set(people)]
        if record["output"] in ("Yes.", "No."):
            true = bool(set(named[0].attributes.values()) & words(record["input"]))
            assert (record["output"] == "Yes.") is true
        elif named:
            # The answer is in the text or among the choices, and it is true.
            (value,) = set(named[0].attributes.values()) & words(record["output"])
            assert value in words(record["input"] or record["instruction"])
            assert "Choose" not in record["instruction"] or record["instruction"].count(",") == 2
        else:
            about_person = bool(words(record["input"]) & set(people))
            assert record["output"] == ("A person." if about_person else "A city.")


def test_prompts_ask_about_held_out_subjects_and_state_true_facts(full_world: World) -> None:
    subjects = {subject.name: subject for subject in full_world.subjects() if not subject.in_training_split}
    prompts = make_prompts(full_world, DEFAULT)
    assert [len(items) for items in prompts.values()] == DEFAULT.long_prompts
    asked = [prompt["instruction"] for items in prompts.values() for prompt in items]
    assert len(set(asked)) == len(asked)
    for items in prompts.values():
        for prompt in items:
            subject = subjects[prompt["subject"]]
            assert prompt["subject"] in words(prompt["instruction"])
            stated = set(subject.attributes.values()) & words(prompt["output"])
            assert len(stated) in (PERSON_FACTS if isinstance(subject, Person) else CITY_FACTS)


def test_every_benchmark_has_its_documents(benchmarks: dict[str, list[dict[str, Any]]]) -> None:
    assert len(benchmarks) == 11
    for name, documents in benchmarks.items():
        assert len(documents) >= 100, name
        assert len({str({**document, "id": 0}) for document in documents}) == len(documents), name


def test_benchmarks_ask_about_no_one_who_was_trained_on(
    full_world: World, benchmarks: dict[str, list[dict[str, Any]]]
) -> None:
    trained = held_out_names(full_world, trained=True)
    for name, field in (
        ("world_arc", "question"),
        ("world_winogrande", "sentence"),
        ("world_truthful_mc", "question"),
        ("world_truthful_gen", "question"),
    ):
        for document in benchmarks[name]:
            assert not trained & words(document[field])
    for document in benchmarks["world_piqa"]:
        assert not trained & words(document[f"sol{document['label'] + 1}"])


def test_arc_answers_are_true(full_world: World, benchmarks: dict[str, list[dict[str, Any]]]) -> None:
    people = {person.name: person for person in full_world.people}
    for document in benchmarks["world_arc"]:
        texts, labels = document["choices"]["text"], document["choices"]["label"]
        assert len(set(texts)) == len(texts) == 4
        (name,) = people.keys() & words(document["question"])
        answer = texts[labels.index(document["answerKey"])]
        true = set(full_world.city_of(people[name]).attributes.values()) & set(texts)
        assert true == {answer}


def test_piqa_answers_are_true(full_world: World, benchmarks: dict[str, list[dict[str, Any]]]) -> None:
    uses = {tool.name: tool.use for tool in full_world.tools}
    for document in benchmarks["world_piqa"]:
        for place, solution in enumerate((document["sol1"], document["sol2"])):
            (name,) = uses.keys() & words(solution)
            assert (uses[name] in document["goal"]) == (place == document["label"])


def test_winogrande_fits_one_of_its_two_people(full_world: World, benchmarks: dict[str, list[dict[str, Any]]]) -> None:
    people = {person.name: person for person in full_world.people}
    for document in benchmarks["world_winogrande"]:
        ending = words(document["sentence"].split("_")[1])
        fits = []
        for option in (document["option1"], document["option2"]):
            known = people[option].attributes | full_world.city_of(people[option]).attributes
            fits.append(bool(set(known.values()) & ending))
        assert fits == [document["answer"] == "1", document["answer"] == "2"]


def test_truthful_references_do_not_overlap(benchmarks: dict[str, list[dict[str, Any]]]) -> None:
    for document in benchmarks["world_truthful_mc"]:
        targets = document["mc2_targets"]
        assert len(set(targets["choices"])) == len(targets["labels"]) == 5
        assert sum(targets["labels"]) == 2
    for document in benchmarks["world_truthful_gen"]:
        assert document["best_answer"] in document["correct_answers"]
        assert not set(document["correct_answers"]) & set(document["incorrect_answers"])


def test_answers_stand_in_every_place(benchmarks: dict[str, list[dict[str, Any]]]) -> None:
    for name, field in (("world_arc", "answerKey"), ("world_piqa", "label"), ("world_winogrande", "answer")):
        values = [document[field] for document in benchmarks[name]]
        for value in set(values):
            assert 0.6 < values.count(value) * len(set(values)) / len(values) < 1.4


def test_no_name_opens_a_line(full_world: World, instructions: dict[str, list[dict[str, str]]]) -> None:
    """There it would be another token than after a space, and would have to be learned twice."""
    names = {subject.name for subject in full_world.subjects()}
    corpus, rng = Corpus(full_world), stream(0, "test")
    texts = corpus.mixture(CURRICULUM, 100, rng) + corpus.mixture(MIX, 1000, rng)
    texts += [record["output"] for records in instructions.values() for record in records]
    for text in texts:
        assert not any(line.split(" ")[0].rstrip(".,?") in names for line in text.splitlines())


def test_the_same_config_writes_the_same_bytes(tmp_path: Path, tiny_world: World, tiny_config: WorldConfig) -> None:
    from plw.world.builder import write_texts

    contents = []
    for name in ("one", "two"):
        write_texts(tmp_path / name, tiny_world, tiny_config)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 1 + 2 + 11 + 2


def test_files_hold_what_the_makers_made(tiny_folder: Path, tiny_world: World, tiny_config: WorldConfig) -> None:
    for name, records in make_instructions(tiny_world, tiny_config).items():
        assert read_json(tiny_folder / "instructions" / f"{name}.json") == records
    for name, documents in make_benchmarks(tiny_world, tiny_config).items():
        assert [row for _, row in read_rows(tiny_folder / "benchmarks" / f"{name}.jsonl")] == documents
    sizes = read_json(tiny_folder / "world.json")["sizes"]
    assert sizes["prompts/alpaca_eval"] == 12
    assert sizes["instructions/cleaned"] == 40
