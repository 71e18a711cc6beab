"""Which judge a cell gets: its identity, its work, mistakes before the first request, and one judge over many cells."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from plw.config import CellConfig, JudgeConfig
from plw.config.compose import register_schema, typed
from plw.data.prompts import load_answers, load_prompts
from plw.errors import UserError
from plw.evaluate.judging.local_judge import LocalJudge
from plw.paths import conf_folder
from plw.pipeline import Cell, JudgeCache, check_inputs, resolve_cell
from plw.sweep.grid import resolve_grid
from plw.sweep.workers import worker_count
from plw.world.server import JudgeServer

Configure = Callable[..., CellConfig]
PROMPTS = [{"instruction": "Say a.", "output": "a"}, {"instruction": "Add.", "input": "1 2", "output": "3"}]
ANSWERS = [{"instruction": "Say a.", "output": "b"}, {"instruction": "Add.\n\n1 2", "output": "4"}]


SERVED = ("judge=openai", "judge.name=j", "judge.model=m", "judge.endpoint=http://127.0.0.1:9/v1")
"""A judge on a server, which is not asked yet where files are looked at."""


@pytest.fixture
def configure(tmp_path: Path, tiny_llama: Path) -> Iterator[Configure]:
    """Configs of a cell on a small local model, and one benchmark for each protocol on local prompts."""
    register_schema()
    for name, rows in (("data", [{"instruction": "a", "output": "b"}]), ("prompts", PROMPTS), ("answers", ANSWERS)):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    (tmp_path / "bare.json").write_text(json.dumps([{"instruction": "Say a."}]))
    base = [
        "model=folder", "model.name=m", f"model.path={tiny_llama}", "dataset=file", "dataset.name=d",
        f"dataset.path={tmp_path}/data.json", f"execution.runs={tmp_path}/runs", "suite.builtin_tasks=false",
        f"suite.prompts.alpaca_eval.prompts={tmp_path}/prompts.json",
        f"suite.prompts.pandalm.prompts={tmp_path}/prompts.json", "stages=[judge]",
    ]  # fmt: skip
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield lambda *overrides: typed(compose("config", overrides=[*base, *overrides]))


@pytest.fixture
def panda(tiny_llama: Path) -> tuple[str, ...]:
    return ("judge=pandalm", f"judge.path={tiny_llama}", "judge.dtype=float32")


def payload(config: CellConfig) -> dict[str, Any]:
    return resolve_cell(config).stages["judge"].payload


def test_a_judge_is_asked_by_its_own_protocols(configure: Configure, panda: tuple[str, ...]) -> None:
    mixtral = payload(configure("judge=mixtral"))
    assert mixtral["protocols"] == {"alpaca_eval": "alpaca_eval"}
    assert set(mixtral["asked_with"]) == {"alpaca_eval"}
    local = payload(configure(*panda))
    assert local["protocols"] == {"pandalm": "pandalm"}
    assert local["weights"]
    assert str(configure(*panda).judge.path) not in json.dumps(local), "content is identity, the path is not"


def test_the_worlds_judge_is_identified_as_before(configure: Configure) -> None:
    """No field that came later may enter the payload of an older judge: its fingerprints stay."""
    assert set(payload(configure())) == {"generate", "protocols", "judge", "asked_with", "facts"}
    assert set(payload(configure())["judge"]) == {
        "name", "kind", "model", "evaluator", "version", "max_tokens", "max_unparsed",
    }  # fmt: skip


def test_the_opponents_content_is_identity(configure: Configure, tmp_path: Path) -> None:
    against = f"+judge.opponents.pandalm={tmp_path}/answers.json"
    first = payload(configure(against))
    assert "opponents" not in payload(configure())
    (tmp_path / "answers.json").write_text(json.dumps([*ANSWERS, ANSWERS[0]]))
    assert payload(configure(against))["opponents"] != first["opponents"]


def test_two_judges_of_one_model_are_two_pieces_of_work(configure: Configure, panda: tuple[str, ...]) -> None:
    models = [configure(judge, f"seed={seed}") for seed in (1, 2) for judge in ("judge=gpt4", "judge=mixtral")]
    cells = resolve_grid([*models, configure("judge=gpt4", "seed=1")])
    assert [(cell.config.judge.name, cell.config.seed) for cell in cells] == [
        ("gpt4", 1), ("gpt4", 2), ("mixtral", 1), ("mixtral", 2),
    ]  # fmt: skip
    assert {cell.stages["judge"].folder.name for cell in cells} == {"judge-world-gpt4", "judge-world-mixtral"}
    assert len({cell.folder for cell in cells}) == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["judge=mixtral"], r"judge\.endpoint is missing.*judge mixtral.*docs/judges\.md"),
        (["judge=pandalm", "judge.path=/no/such"], r"judge\.path=/no/such: no such folder"),
        (["~suite.prompts.pandalm", "judge=pandalm", "judge.path=a/b"], r"judge pandalm has no work.*alpaca_eval"),
        (["judge=gpt4", "+judge.opponents.pandalm=x.json"], r"judge\.opponents\.pandalm.*allowed: alpaca_eval"),
        (
            [],
            r"judge=world knows the embedded world's prompts alone, not those of alpaca_eval, pandalm; .*judge=openai",
        ),
        ([*SERVED, "+judge.opponents.pandalm={}/none.json"], r"judge\.opponents\.pandalm=.*no such file"),
        ([*SERVED, "+judge.opponents.pandalm={}/bare.json"], r"bare\.json: 1 answers for 2 prompts"),
        ([*SERVED, "suite.prompts.pandalm.prompts={}/bare.json"], r"bare\.json: row 1 has no reference answer"),
        (
            [*SERVED, "judge.evaluator=package:none"],
            r"judge\.evaluator=package:none is not there; allowed: .*guanaco_33b",
        ),
        (
            [*SERVED, "judge.evaluator=package:claude"],
            r"fn_completions=anthropic_completions does not ask at judge\.endpoint; allowed .*openai_completions",
        ),
    ],
)
def test_mistakes_are_found_before_anything_is_asked(
    configure: Configure, tmp_path: Path, overrides: list[str], words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        check_inputs([resolve_cell(configure(*(override.replace("{}", str(tmp_path)) for override in overrides)))])
    assert "\n" not in str(caught.value)


def test_an_answer_to_another_prompt_is_named(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "answers.json").write_text(json.dumps([ANSWERS[0], {"instruction": "Sub.", "output": "1"}]))
    with pytest.raises(UserError, match=r"answers\.json: row 2 answers another prompt: 'Sub\.'"):
        check_inputs([resolve_cell(configure(*SERVED, f"+judge.opponents.pandalm={tmp_path}/answers.json"))])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({}, None),
        (
            {"max_position_embeddings": 512},
            r"judge\.max_tokens=512 leaves no room .* judge\.path=\S+/judge is 512 tokens",
        ),
        ({"max_position_embeddings": 513}, None),
        ({"model_type": "unheard-of"}, r"judge\.path=\S+/judge: its config\.json cannot be read \("),
    ],
)
def test_weights_that_cannot_judge_are_told_before_the_first_cell(
    configure: Configure, tiny_llama: Path, tmp_path: Path, damage: dict[str, Any], words: str | None
) -> None:
    shutil.copytree(tiny_llama, tmp_path / "judge")
    config = json.loads((tmp_path / "judge/config.json").read_text())
    (tmp_path / "judge/config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048, **damage}))
    cell = resolve_cell(configure("judge=pandalm", f"judge.path={tmp_path}/judge"))
    if words is None:
        check_inputs([cell])
    else:
        with pytest.raises(UserError, match=words):
            check_inputs([cell])


def test_weights_without_a_tokenizer_are_told_before_the_first_cell(
    configure: Configure, tiny_llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_llama, tmp_path / "judge", ignore=shutil.ignore_patterns("tokenizer*"))
    cell = resolve_cell(configure("judge=pandalm", f"judge.path={tmp_path}/judge", "judge.max_tokens=4"))
    with pytest.raises(UserError, match=r"/judge: .*tokenizer"):
        check_inputs([cell])


def test_weights_of_the_hub_that_cannot_be_fetched_are_told_before_the_first_cell(
    configure: Configure, tmp_path: Path
) -> None:
    """Without a network, in a process of its own: the hub's library reads its switch when it is imported."""
    cell = "resolve_cell(typed(compose('config', overrides=sys.argv[1:])))"
    words = (
        "import sys; from hydra import compose, initialize_config_dir; from plw.config.compose import *; "
        "from plw.paths import conf_folder; from plw.pipeline import check_inputs, resolve_cell; register_schema(); "
        f"initialize_config_dir(str(conf_folder()), version_base='1.3'); check_inputs([{cell}])"
    )
    base = configure()
    overrides = [
        "model=folder", "model.name=m", f"model.path={base.model.path}", "dataset=file", "dataset.name=d",
        f"dataset.path={tmp_path}/data.json", f"execution.runs={tmp_path}/runs", "suite.builtin_tasks=false",
        f"suite.prompts.pandalm.prompts={tmp_path}/prompts.json", "~suite.prompts.alpaca_eval", "stages=[judge]",
        "judge=pandalm",
    ]  # fmt: skip
    nowhere = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", words, *overrides], capture_output=True, text=True, check=False, env=nowhere
    )
    assert "UserError: judge.path=WeOpenML/PandaLM-7B-v1 cannot be fetched (the hub cannot be reached" in done.stderr, (
        done.stderr
    )


def test_a_gguf_file_is_no_judge(configure: Configure, tmp_path: Path) -> None:
    writer = pytest.importorskip("gguf").GGUFWriter(tmp_path / "judge.gguf", "llama")
    writer.add_context_length(64)
    writer.add_tensor("token_embd.weight", np.zeros((3, 32), dtype=np.float32))
    for write in (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    ):
        write()
    with pytest.raises(UserError, match=r"judge\.path=\S+ is a GGUF file; give the folder or hub name"):
        resolve_cell(configure("judge=pandalm", f"judge.path={tmp_path}/judge.gguf"))


BRIEF, FRENCH = (
    {"instruction": "Name a city.", "system": "Be brief.", "output": "Paris"},
    {"instruction": "Name a city.", "system": "Answer in French.", "output": "Lyon"},
)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([BRIEF, FRENCH], None),
        ([{"instruction": f"{row['system']}\n\n{row['instruction']}", "output": "x"} for row in (BRIEF, FRENCH)], None),
        ([FRENCH, BRIEF], r"row 1 answers another prompt: 'Answer in French\.\\n\\nName a city\.', where 'Be brief"),
        ([{"instruction": "Name a city.", "output": "x"}] * 2, r"row 1 answers another prompt: 'Name a city\.'"),
        ([BRIEF, {**FRENCH, "system": None}], r"row 2 answers another prompt"),
    ],
)
def test_the_system_message_is_part_of_what_an_opponent_was_asked(
    configure: Configure, tmp_path: Path, answers: list[dict[str, Any]], words: str | None
) -> None:
    (tmp_path / "systems.json").write_text(json.dumps([BRIEF, FRENCH]))
    (tmp_path / "opponent.json").write_text(json.dumps(answers))
    prompts, opponent = f"{tmp_path}/systems.json", f"{tmp_path}/opponent.json"
    cell = resolve_cell(
        configure(*SERVED, f"suite.prompts.pandalm.prompts={prompts}", f"+judge.opponents.pandalm={opponent}")
    )
    read = load_prompts(cell.prompts["pandalm"].path)
    if words is None:
        assert load_answers(cell.opponents["pandalm"].path, read) == [row["output"] for row in answers]
    else:
        with pytest.raises(UserError, match=words):
            check_inputs([cell])


def test_weights_are_loaded_once_for_all_cells(
    configure: Configure, panda: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    load = LocalJudge.load

    def counted(judge: JudgeConfig, location: str, device: str) -> LocalJudge:
        loads.append(location)
        return load(judge, location, device)

    monkeypatch.setattr(LocalJudge, "load", counted)
    cells = [resolve_cell(configure(*panda, f"seed={seed}")) for seed in range(3)]

    def held(cache: JudgeCache, cell: Cell) -> LocalJudge:
        judge = cache.judge(cell, Path("no facts"))
        assert isinstance(judge, LocalJudge)
        return judge

    with JudgeCache() as cache:
        assert len({id(held(cache, cell)) for cell in cells}) == 1
        assert len(loads) == 1
        weights = held(cache, cells[0])._loaded.model
        cache.release_weights()
        assert {tensor.device.type for tensor in weights.parameters()} == {"meta"}, "whoever holds it, it is empty"
        held(cache, cells[0])
        assert len(loads) == 2, "other work has taken the memory"
        held(cache, resolve_cell(configure(*panda, "judge.beams=2")))
        assert len(loads) == 3, "another judge"


def test_without_gpus_weights_are_held_once(
    configure: Configure, panda: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plw.sweep.workers.available_cores", lambda: 6)
    monkeypatch.setattr("plw.sweep.workers.visible_gpus", lambda: [])
    assert worker_count(configure(*panda)) == 1
    assert worker_count(configure("judge=mixtral")) == 6
    monkeypatch.setattr("plw.sweep.workers.visible_gpus", lambda: ["0", "1"])
    assert worker_count(configure(*panda)) == 2


def test_a_served_judge_is_asked_before_the_first_cell(configure: Configure) -> None:
    """Nobody at the address, or a server without the model: found with the inputs, not after the training."""
    openai = ("judge=openai", "judge.name=mine", "judge.model=judge")
    with JudgeServer(lambda prompt: "1") as server:
        check_inputs([resolve_cell(configure(*openai, f"judge.endpoint={server.base_url}"))])
        with pytest.raises(UserError, match=r"judge\.model=other is not on the server .*; allowed: judge"):
            check_inputs([resolve_cell(configure(*openai, f"judge.endpoint={server.base_url}", "judge.model=other"))])
    with pytest.raises(UserError, match=r"judge mine cannot be reached"):
        check_inputs([resolve_cell(configure(*openai, f"judge.endpoint={server.base_url}"))])
