"""What a task needs beside its documents is asked for before the first cell, and named."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import lm_eval
import pytest

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.errors import UserError
from plw.evaluate.lm_eval.tasks import check_tasks

IFEVAL = Path(lm_eval.__file__).parent / "tasks" / "ifeval"
PIQA = Path(lm_eval.__file__).parent / "tasks" / "piqa"


@pytest.fixture
def ifeval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Path]]:
    """A document of ifeval's form; what lm-eval has imported for ifeval before is imported anew."""
    for name in list(sys.modules):
        if "ifeval" in name:
            monkeypatch.delitem(sys.modules, name)
    row = {"key": 1, "prompt": "Say it.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    (tmp_path / "ifeval.jsonl").write_text(json.dumps(row) + "\n")
    return {"following": {"train": tmp_path / "ifeval.jsonl"}}


def suite(name: str, task: TaskConfig) -> SuiteConfig:
    return SuiteConfig(name="mine", tasks={name: task}, builtin_tasks=False)


FOLLOWING = suite(
    "following",
    TaskConfig(task="ifeval", group="short_generation", metric="prompt_level_strict_acc", files={"train": "given"}),
)


def module(name: str, **names: Any) -> ModuleType:
    made = ModuleType(name)
    made.__dict__.update(names)
    return made


@pytest.mark.parametrize("package", ["langdetect", "immutabledict"])
def test_a_package_that_is_not_there_is_named_and_not_the_data(
    package: str, ifeval: dict[str, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", module("langdetect"))
    monkeypatch.setitem(sys.modules, "immutabledict", module("immutabledict", immutabledict=dict))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UserError, match=rf"suite\.tasks\.following: .*needs the package {package}.*plw\[ifeval\]"
    ) as said:
        check_tasks(FOLLOWING, (IFEVAL,), ifeval)
    assert "ifeval.jsonl" not in str(said.value)


def test_data_of_nltk_that_is_not_there_is_named(
    ifeval: dict[str, dict[str, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import nltk

    monkeypatch.setitem(sys.modules, "langdetect", module("langdetect"))
    monkeypatch.setitem(sys.modules, "immutabledict", module("immutabledict", immutabledict=dict))
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk")])
    monkeypatch.setattr(nltk.downloader._downloader, "_url", "file:///nowhere/index.xml")
    for name in [name for name in sys.modules if "ifeval" in name]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        UserError, match=r"suite\.tasks\.following: .*nltk's data punkt_tab.*nltk\.downloader punkt_tab"
    ):
        check_tasks(FOLLOWING, (IFEVAL,), ifeval)
    assert capfd.readouterr() == ("", "")
    (tmp_path / "nltk" / "tokenizers" / "punkt_tab").mkdir(parents=True)
    check_tasks(FOLLOWING, (IFEVAL,), ifeval)


@pytest.mark.parametrize(
    ("row", "metric", "words"),
    [
        ({"label": "0"}, "acc", r"wrong\.jsonl: row 2 has the label '0'"),
        ({"sol2": None}, "acc", r"wrong\.jsonl: row 2 has no text for choice 1"),
        ({}, "bleu", r"suite\.tasks\.mine\.metric=bleu is not reported by piqa"),
    ],
)
def test_mistakes_in_task_files_come_before_the_first_cell(
    row: dict[str, Any], metric: str, words: str, tmp_path: Path
) -> None:
    good = {"goal": "a", "sol1": "b", "sol2": "c", "label": 0}
    if "label" in row:
        good["label"] = "b"
    path = tmp_path / "wrong.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in (good, {**good, **row})))
    mine = suite("mine", TaskConfig(task="piqa", group="multiple_choice", metric=metric, files={"validation": "x"}))
    with pytest.raises(UserError, match=words):
        check_tasks(mine, (PIQA,), {"mine": {"validation": path}})
