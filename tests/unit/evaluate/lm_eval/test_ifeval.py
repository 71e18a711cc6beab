"""IFEval on all its prompts: the suite's scores are those of lm-eval's own checkers on the same answers."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lm_eval
import pytest
from lm_eval.api.model import LM

from plw.config.evaluation import SuiteConfig, TaskConfig
from plw.evaluate.lm_eval.harness import run_tasks
from plw.evaluate.lm_eval.patches import LANGDETECT_SEED
from tests.punkt import write_punkt

PROMPTS = 541
DRAWN = 2
"""Prompts that ask how often "#" and "!" stand in the answer: lm-eval's checker draws a letter in their place."""
METRICS = ("prompt_level_strict_acc", "inst_level_strict_acc", "prompt_level_loose_acc", "inst_level_loose_acc")
TASK_FOLDER = Path(lm_eval.__file__).parent / "tasks" / "ifeval"
ANSWERS = (
    "I do not know, but here is a guess. It may be wrong! Is it?",
    "<<a title>>\n\n* one thing\n* another thing\n* a third\n\nP.S. thank you for asking.",
    "all of this is written in small letters and has no comma. it has three sentences. this is the last of them.",
    '{"answer": "none"}',
    "SECTION 1\nEVERYTHING IS LOUD HERE [name] [place] [date].\n\n***\n\nSECTION 2\nIT ENDS.",
)


class Answers(LM):
    """Gives the answers in turn."""

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        return [ANSWERS[request.doc_id % len(ANSWERS)] for request in requests]

    def loglikelihood(self, requests: Any) -> Any:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def rows(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The prompts; nltk finds sentences by what it learns of them, since its own data is to be fetched."""
    for package in ("langdetect", "immutabledict"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'plw[ifeval]'")
    import nltk

    found = [json.loads(line) for line in (shared_data / "tasks" / "ifeval.jsonl").read_text().splitlines()]
    write_punkt(tmp_path / "nltk", " ".join(row["prompt"] for row in found))
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path / "nltk")])
    for name in [name for name in sys.modules if "ifeval" in name]:
        monkeypatch.delitem(sys.modules, name)
    return found


def test_the_scores_of_all_prompts_are_those_of_lm_evals_checkers(
    rows: list[dict[str, Any]], shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.tasks.ifeval.utils import process_results

    task = TaskConfig(task="ifeval", group="short_generation", metric=METRICS[0], files={"train": "given"})
    suite = SuiteConfig(name="own", tasks={"following": task}, builtin_tasks=False)
    model: Any = SimpleNamespace(context_length=4096, for_harness=lambda batch_size: Answers())
    files = {"following": {"train": shared_data / "tasks" / "ifeval.jsonl"}}
    result = run_tasks(model, suite, files, (TASK_FOLDER,))
    scores = {score.metric: score for score in result.scores}
    assert len(rows) == PROMPTS == scores[METRICS[0]].n
    from langdetect import DetectorFactory

    # Without a seed langdetect draws anew, and a language is found or not by chance.
    monkeypatch.setattr(DetectorFactory, "seed", LANGDETECT_SEED)
    expected = [process_results(row, [ANSWERS[place % len(ANSWERS)]]) for place, row in enumerate(rows)]
    for metric in METRICS:
        told = [
            value for row in expected for value in (row[metric] if isinstance(row[metric], list) else [row[metric]])
        ]
        assert scores[metric].value == pytest.approx(sum(told) / len(told), abs=DRAWN / len(told)), metric
        assert 0.02 < scores[metric].value < 0.9
