"""`plw tune` on a tiny model: the whole search by each measure, stopped and continued; each mistake is one line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sacrebleu.metrics import CHRF
from typer.testing import CliRunner

from plw.cli import app
from tests.unit.commands.tune_case import RECORDS, WORDS, records, registry

MINE = ("+suite.prompts.mine.protocol=pandalm", "+suite.prompts.mine.prompts=bare.json")
"""Prompts of one's own, to be judged against answers that they have not."""
KEYS = {"best", "cells", "stopped", "regret_bound", "config", "trials", "expected", "model", "data", "measure"}


def test_by_answers_to_records_that_nothing_is_trained_on(tune, place):
    code, screen, errors, made = tune("--budget", "4")
    assert (code, errors) == (0, "")
    assert "word for word" not in screen
    assert set(made) == KEYS
    assert 3 <= made["cells"] == len(made["trials"]) <= 4
    assert made["stopped"] in ("interval", "equivalence", "budget")
    best = made["best"]
    assert 0 <= best["low"] <= best["prompt_weight"] <= best["high"] <= 1
    assert made["config"] == ["loss:", f"  prompt_weight: {best['prompt_weight']:g}"]
    assert "8 records kept out" in made["measure"]
    assert f"Take prompt weight {best['prompt_weight']:g}" in " ".join(screen.split())
    assert "Fewer than 30 independent items in held_out: interval and bound are rough." in " ".join(screen.split())
    (file,) = (place / "runs/cache/held-out").glob("*.json")
    kept = {row["instruction"] for row in json.loads(file.read_text())}
    assert len(kept) == 8
    for path in (place / "runs").rglob("train/record.json"):
        assert json.loads(path.read_text())["data"]["examples"] == 32
    answers = {row["instruction"]: row["output"] for row in RECORDS}
    for trial in made["trials"]:
        (path,) = Path(trial["folder"]).glob("generate*/held_out.json")
        rows = json.loads(path.read_text())
        written, right = [row["output"] for row in rows], [answers[row["instruction"]] for row in rows]
        assert trial["score"] == pytest.approx(CHRF().corpus_score(written, [right]).score / 100)
        assert trial["tokens_per_answer"] == pytest.approx(sum(row["tokens"] for row in rows) / 8)
    before = records(place)
    again = tune("--budget", "4")
    assert again[3] == made
    assert records(place) == before
    assert tune("--budget", "2")[3]["cells"] == 2
    assert records(place) == before
    status = CliRunner().invoke(app, ["status", "study=tune", "scale=own", *registry(place), "--watch"])
    assert status.exit_code == 0, "it ends, since no stage is waited for that nobody asked for"
    assert "0 running, 0 failed" in status.output


@pytest.mark.parametrize("form", ["chat", "alpaca"])
def test_chats_are_asked_after_their_system_message(tune, place, form):
    said = [("system", "Be brief."), ("user", "Say {n}."), ("assistant", "It is {n}."), ("user", "Why?")]
    chats = [{"messages": [{"role": role, "content": text.format(n=n)} for role, text in said]} for n in range(40)]
    if form == "alpaca":
        turns = {"instruction": "Why?", "output": "So.", "system": "Be brief."}
        chats = [turns | {"history": [[f"Say {n}.", f"It is {n}."]]} for n in range(40)]
    (place / "chats.json").write_text(json.dumps(chats))
    code, _, errors, made = tune(f"dataset.format={form}", "--budget", "2", data=place / "chats.json")
    assert (code, errors, made["cells"]) == (0, "", 2)
    (file,) = (place / "runs/cache/held-out").glob("*.json")
    asked = json.loads(file.read_text())
    assert {row["system"] for row in asked} == {"Be brief."}
    assert {(row["instruction"], row["output"]) for row in asked} <= {(f"Say {n}.", f"It is {n}.") for n in range(40)}
    (answers, *_) = (place / "runs").rglob("generate*/held_out.json")
    assert {row["system"] for row in json.loads(answers.read_text())} == {"Be brief."}


def test_a_chat_that_cannot_be_asked_is_refused(tune, place):
    said = [("system", "a"), ("system", "b"), ("user", "c"), ("assistant", "d")]
    chats = [{"messages": [{"role": role, "content": text} for role, text in said]} for _ in range(40)]
    (place / "chats.json").write_text(json.dumps(chats))
    code, _, errors, _ = tune("dataset.format=chat", data=place / "chats.json")
    assert code == 2
    assert "after a system message at most; found system, system, user; measure by --task instead" in " ".join(
        errors.split()
    )


CHAT = [("user", "Say {n}."), ("assistant", "It is {n}.")]


def chats(place: Path, said: list[tuple[str, str]], answer: dict[str, object] | None = None, **more: object) -> Path:
    """A file of 40 chats; the answers have more fields, and so have the rows."""
    rows = []
    for n in range(40):
        messages = [{"role": role, "content": text.format(n=n)} for role, text in said]
        messages[-1] |= answer or {}
        rows.append({"messages": messages, **more})
    path = place / "said.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("answer", "more", "words", "said"),
    [
        ({"weight": 0}, {}, [], "weight of 0, so it is none to compare answers with"),
        ({"weight": -1}, {}, ["loss.allow_negative=true"], "weight of -1, so it is none to compare"),
        ({}, {"w": 0}, ["+dataset.columns.weight=w"], "weight of 0, so it is none to compare"),
        ({}, {"tools": [{"type": "function"}]}, [], "has tools, which no request is asked with"),
    ],
)
def test_answers_that_no_model_should_give_are_no_measure(tune, place, answer, more, words, said):
    again = [("user", "Once more."), ("assistant", "Yes.")]
    path = chats(place, CHAT, answer, **more)
    if answer:
        # Something else is learned of the chat.
        rows = json.loads(path.read_text())
        for row in rows:
            row["messages"] += [{"role": role, "content": text} for role, text in again]
        path.write_text(json.dumps(rows))
    code, _, errors, _ = tune("dataset.format=chat", *words, data=path)
    assert code == 2
    assert said in " ".join(errors.split())
    assert not list((place / "runs").rglob("record.json"))


def test_data_that_change_during_a_search_end_it(tune, place, monkeypatch):
    """Trainings before and after would stand on one curve."""
    from analysis.inference.adaptive import WeightChooser

    decide = WeightChooser.decide

    def change(self, trials):
        rows = [{**row, "output": "Never."} for row in RECORDS]
        (place / "mine.json").write_text(json.dumps(rows))
        return decide(self, trials)

    monkeypatch.setattr(WeightChooser, "decide", change)
    code, screen, errors, made = tune("--budget", "4", "--margin", "0.0001")
    told = " ".join(errors.split())
    assert (code, made) == (1, None)
    assert "what it is trained on has changed since the search began" in told
    assert "dataset.content" in told
    assert "Take prompt weight" not in screen


@pytest.mark.parametrize("word", ["dataset.path=other.json", "model.path=other"])
def test_a_second_place_of_model_or_data_is_refused(tune, word):
    code, _, errors, _ = tune(word)
    assert code == 2
    assert f"{word}: the {'data are' if word.startswith('d') else 'model is'}" in " ".join(errors.split())


def test_answers_that_are_alike_under_every_weight_recommend_none(tune):
    """So small a learning rate leaves the model as it was, whatever the weight."""
    code, screen, errors, made = tune("--budget", "2", "suite.decoding.max_new_tokens=1", "recipe.learning_rate=1e-9")
    assert (code, errors) == (0, "")
    assert (made["stopped"], made["best"], made["regret_bound"], made["config"]) == ("alike", None, None, [])
    assert "does not tell weights apart" in " ".join(screen.split())
    assert "Take prompt weight" not in screen


def test_by_a_benchmark_of_a_suite(tune, place):
    code, _, errors, made = tune("suite=quiz", "--task", "piqa", "--budget", "2", "--config-dir", str(place / "conf"))
    assert (code, errors) == (0, "")
    assert "piqa (acc_norm)" in made["measure"]
    assert all((Path(trial["folder"]) / "harness-quiz-piqa/record.json").exists() for trial in made["trials"])
    assert {trial["tokens_per_answer"] for trial in made["trials"]} == {None}


def test_without_a_judge_nothing_outside_the_world_is_judged(tune, place, monkeypatch):
    monkeypatch.chdir(place)
    (place / "bare.json").write_text(json.dumps([{"instruction": "Say 1."}, {"instruction": "Say 2."}]))
    code, _, errors, made = tune("suite=quiz", *MINE, "--budget", "2", "--config-dir", str(place / "conf"))
    assert (code, errors) == (0, "")
    assert "measured by piqa (acc_norm); mine not judged" in made["measure"]
    assert not list((place / "runs").rglob("judge-*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "1"], "--budget 1"),
        (["--margin", "1"], "--margin 1"),
        (["--task", "piqa", "--judge", "world"], "--task and --judge"),
        (["suite=quiz", "--task", "nosuch"], "no such benchmark; allowed: piqa"),
        (["suite=quiz", "--task", ""], "--task is empty"),
        (["--task", ":acc"], "--task is empty"),
        (["suite=quiz", "--task", "piqa", "--task", "piqa:acc"], "--task piqa is given 2 times"),
        (["recipe.max_length=8"], "their prompts fill recipe.max_length=8"),
        (["loss.roles.assistant=0", "loss.roles.system=1"], "those of user, assistant, template, which count nothing"),
        (["--judge", "nosuch"], "judge/nosuch"),
        (["--judge", "world"], "knows the embedded world's prompts alone, not those of held_out"),
        (["judge=world", *MINE], "knows the embedded world's prompts alone, not those of mine"),
        (["suite=quiz", "~suite.tasks.piqa", *MINE], "mine need a judge; give --judge"),
        (["--judge", "gpt4", "judge.endpoint=null"], "judge.endpoint is missing"),
        (["--judge", "llama-3.3-70b"], "grades dialogues (mt_bench) and compares no answers with a record's"),
        (["stages=[train]"], "stages is set by plw tune"),
        (["hydra/sweeper=adaptive"], "plw tune has no sweeper or launcher"),
        (["hydra.sweeper.budget=3"], "the search is set by --budget and --margin"),
        (["loss.prompt_weight=0"], "loss.prompt_weight is set by plw tune"),
        (["execution.runs={place}/mine.json"], "execution.runs="),
        (["dataset.held_out=40"], "leaves nothing"),
        (["recipe.epochs=0"], "recipe.epochs=0"),
    ],
)
def test_a_mistake_is_one_line_before_the_first_cell(tune, place, words, said):
    words = [word.format(place=place) for word in words]
    code, _, errors, made = tune(*words, "--config-dir", str(place / "conf"))
    assert (code, made) == (2, None), errors
    (line,) = errors.strip().splitlines()
    assert said in line
    assert not list((place / "runs").rglob("payload.json"))


@pytest.mark.slow
def test_a_task_that_lm_eval_does_not_know(tune, place):
    code, _, errors, _ = tune("--task", "nosuchtask")
    (line,) = errors.strip().splitlines()
    assert (code, "nosuchtask is not a task that lm-eval knows" in line) == (2, True)


def test_the_worlds_models_are_made_for_own_data_too(tune, place):
    (place / "three.json").write_text(json.dumps(RECORDS[:3]))
    code, screen, errors, _ = tune(f"execution.cache={place}/cache", model="world-wide", data=place / "three.json")
    assert (code, "Building the embedded world" in screen) == (2, True)
    assert "3 records" in errors


def test_held_out_records_have_completions_to_compare_with(tune, place):
    for blank, said in ((range(40), "8 of 8 held-out records"), (range(32, 40, 7), "held-out record")):
        rows = [{**row, "output": " " if number in blank else row["output"]} for number, row in enumerate(RECORDS)]
        (place / "blank.json").write_text(json.dumps(rows))
        code, _, errors, _ = tune(data=place / "blank.json")
        assert (code, len(errors.strip().splitlines())) == (2, 1)
        assert "no completion" in errors
        assert said in errors
    assert "2 held-out records or more" in tune("dataset.held_out=1")[2]


def test_held_out_records_that_are_trained_on_too_are_told(tune, place):
    rows = [*RECORDS[:25], *RECORDS[:15]]
    (place / "twice.json").write_text(json.dumps(rows))
    assert "stand word for word among the trained ones too" in tune("--budget", "2", data=place / "twice.json")[1]


def test_data_and_models_that_are_none(tune, place, tmp_path):
    (place / "three.json").write_text(json.dumps(RECORDS[:3]))
    assert "3 records" in tune(data=place / "three.json")[2]
    assert "no such file" in tune(data=place / "none.json")[2]
    assert "no model's config" in tune(model=tmp_path / "nowhere")[2]
    assert tune(model="")[2].startswith("plw: MODEL is empty")
    assert tune(data="")[2].startswith("plw: DATA is empty")


@pytest.mark.slow
def test_a_search_killed_at_its_first_cell_goes_on_to_the_same_end(tune, place, tiny_llama):
    slow = (*WORDS[:1], "recipe.epochs=4", *WORDS[2:])
    command = [sys.executable, "-m", "plw", "tune", tiny_llama, place / "mine.json", *slow]
    where = [f"execution.runs={place}/runs", *registry(place)]
    process = subprocess.Popen(
        [*map(str, command), *where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={key: value for key, value in os.environ.items() if not key.startswith("HYDRA_")},
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not records(place):
        assert time.monotonic() < deadline, "no cell was trained within five minutes"
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = records(place)
    made = tune(quick=slow)[3]
    assert before.items() <= records(place).items()
    assert made is not None
    other = place / "runs"
    other.rename(place / "first")
    (place / "registry.sqlite").unlink()
    undisturbed = tune(quick=slow)[3]
    assert undisturbed == made
