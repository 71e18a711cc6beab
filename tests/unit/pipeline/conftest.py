"""A study of one's own that trains in a second: a tiny model, a file of records, local benchmarks and prompts."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from plw.config import CellConfig
from plw.config.compose import register_schema, typed
from plw.paths import conf_folder
from plw.pipeline import CellOutcome, JudgeCache, resolve_cell, run_cell

OwnStudy = Callable[..., CellConfig]

RECORDS = [{"instruction": f"Say {n}.", "input": "", "output": f"It is {n}."} for n in range(24)]
QUESTIONS = [{"goal": f"Say {n}.", "sol1": f"It is {n}.", "sol2": "No.", "label": n % 2} for n in range(8)]
SUITE = """
name: own
tasks:
  piqa: {{task: piqa, group: multiple_choice, metric: acc_norm, files: {{validation: {folder}/questions.jsonl}}}}
prompts:
  alpaca_eval: {{protocol: alpaca_eval, prompts: {folder}/prompts.json}}
decoding: {{max_new_tokens: 4}}
diagnostics: {{memorisation_samples: 2, memorisation_max_new_tokens: 4, loss_window: 2}}
bootstrap_iterations: 10
"""
PROMPTS = [{"instruction": f"Say {n}.", "output": f"It is {n}."} for n in range(3)]


@pytest.fixture
def own_study(tmp_path: Path, tiny_llama: Path) -> Iterator[OwnStudy]:
    """Configs of the study's cells, below ``tmp_path``."""
    register_schema()
    for name, rows in (("records", RECORDS), ("prompts", PROMPTS)):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    (tmp_path / "conf/suite").mkdir(parents=True)
    (tmp_path / "conf/suite/own.yaml").write_text(SUITE.format(folder=tmp_path))
    shutil.copytree(tiny_llama, tmp_path / "model")
    base = [
        "model=folder", "model.name=m", f"model.path={tmp_path}/model", "dataset=file", "dataset.name=d",
        f"dataset.path={tmp_path}/records.json", "recipe.epochs=1", "recipe.batch_size=8", "tracker=none",
        "suite=own", f"hydra.searchpath=[file://{tmp_path}/conf]",
        f"execution.runs={tmp_path}/runs", f"registry.url=sqlite:///{tmp_path}/runs/registry.sqlite",
        "judge=openai", "judge.name=j", "judge.model=m", "judge.endpoint=http://127.0.0.1:9/v1",
        "stages=[train,generate]",
    ]  # fmt: skip
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield lambda *overrides: typed(compose("config", overrides=[*base, *overrides]))


def run(config: CellConfig) -> CellOutcome:
    """Run a cell to its end in this process."""
    with JudgeCache() as judges:
        return run_cell(resolve_cell(config), lambda *_: None, judges)
