"""Real data through the same code: AlpacaDataCleaned and its inversion on a local Llama folder, three real benchmarks,
real prompts, judges at an address and from weights, and a registry row for all of it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from plw.config.compose import register_schema, typed
from plw.paths import conf_folder
from plw.registry import Registry
from plw.sweep.summary import run_and_summarise
from plw.world.server import JudgeServer
from tests.e2e.conftest import Study, environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DOCUMENTS = 3
PROMPTS = 12
RECORDS = 40


@dataclass
class Judged:
    """A server that counts what it is asked, and may be slow."""

    asked: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __call__(self, prompt: str) -> str:
        self.asked.append(prompt)
        time.sleep(self.seconds)
        return "Output (b)" if "[INST]" in prompt else "1\n\n### Reason: it comes first."


@dataclass(frozen=True)
class Real:
    """The study of two cells, and the words that choose it."""

    study: Study
    words: tuple[str, ...]
    model: Path
    opponent: Path

    def registry(self) -> Registry:
        return Registry.open(f"sqlite:///{self.study.runs}/registry.sqlite")

    def scores(self) -> pd.DataFrame:
        with self.registry() as registry:
            return registry.scores_frame()

    def judge(self, *overrides: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Judge both finished cells: `plw run -m ... stages=[judge]`."""
        return self.study.call("run", "-m", *self.words, *DATASETS, "stages=[judge]", *overrides, code=code)


DATASETS = ("dataset=file,file-short",)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Real:
    """Both cells trained, diagnosed, scored on the three benchmarks, and their answers generated; not judged yet."""
    folder = tmp_path_factory.mktemp("real")
    model, judges = folder / "tiny-llama", shared_data / "judges"
    script = ROOT / "scripts" / "make_tiny_llama.py"
    subprocess.run(
        [sys.executable, script, shared_data / "llama_tokenizer.model", model, "--hidden", "32", "--layers", "2"],
        check=True,
    )
    (folder / "conf" / "suite").mkdir(parents=True)
    (folder / "conf" / "suite" / "real.yaml").write_text(json.dumps(suite(shared_data)))
    prompts = json.loads((judges / "pandalm_testset_inference_v1.json").read_text())[:PROMPTS]
    opponent = [{**prompt, "output": "I do not know."} for prompt in prompts]
    (folder / "opponent.json").write_text(json.dumps(opponent))
    words = (
        "study=own", "scale=own", "model=folder", "model.name=tiny", f"model.path={model}",
        "dataset.name=alpaca", f"dataset.path={shared_data}/alpaca/alpaca_cleaned_999.json", f"dataset.limit={RECORDS}",
        "recipe.epochs=2", "recipe.batch_size=8", "recipe.max_length=128", "loss.prompt_weight=0.1",
        "suite=real", f"hydra.searchpath=[file://{folder}/conf]",
        "tracker=none", "execution.workers=1",
    )  # fmt: skip
    study = Study(runs=folder / "runs", cache=folder / "cache")
    here = (
        f"execution.runs={study.runs}",
        f"execution.cache={study.cache}",
        "stages=[train,diagnose,harness,generate]",
    )
    register_schema()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cells = [
            typed(compose("config", overrides=[*words, *here, f"dataset={dataset}"]))
            for dataset in ("file", "file-short")
        ]
    run_and_summarise(cells)
    return Real(study=study, words=words, model=model, opponent=folder / "opponent.json")


def suite(data: Path) -> dict[str, object]:
    """The real benchmarks on local files; JSON is YAML too."""
    tasks = {
        "piqa": ("piqa", "acc_norm", "piqa_validation"),
        "mc2": ("truthfulqa_mc2", "acc", "truthfulqa_multiple_choice"),
        "gen": ("truthfulqa_gen", "bleu_acc", "truthfulqa_generation"),
    }
    prompts = {"alpaca_eval": "alpaca_eval_text_davinci_003", "pandalm": "pandalm_testset_inference_v1"}
    return {
        "name": "real",
        "tasks": {
            name: {
                "task": task,
                "group": "short_generation" if name == "gen" else "multiple_choice",
                "metric": metric,
                "files": {"validation": f"{data}/tasks/{file}.jsonl"},
            }
            for name, (task, metric, file) in tasks.items()
        },
        "prompts": {
            name: {"protocol": name, "prompts": f"{data}/judges/{file}.json", "limit": PROMPTS}
            for name, file in prompts.items()
        },
        "decoding": {"max_new_tokens": 8},
        "diagnostics": {"memorisation_samples": 8, "memorisation_max_new_tokens": 8},
        "limit": DOCUMENTS,
        "bootstrap_iterations": 10,
    }


def test_every_part_has_its_rows(real: Real) -> None:
    scores = real.scores()
    with real.registry() as registry:
        cells, curves = registry.cells(), registry.curves_frame()
    ratios = sorted(cell.r_g for cell in cells if cell.r_g is not None)
    assert len(ratios) == 2
    assert ratios[0] < 1 < ratios[1]
    assert {cell.recipe for cell in cells} == {"mini"}
    for cell in cells:
        own = scores[scores["cell"] == cell.cell].set_index(["benchmark", "metric"])
        for task, metric in (("piqa", "acc_norm"), ("mc2", "acc"), ("gen", "bleu_acc")):
            assert own.loc[(task, metric), "headline"]
            assert own.loc[(task, metric), "n"] == DOCUMENTS
            assert 0 <= own.loc[(task, metric), "value"] <= 1
        assert own.loc[("weight_distance", "l2"), "value"] > 0
        assert own.loc[("weight_distance", "l1"), "value"] == pytest.approx(
            sum(own.loc[("weight_distance", f"l1.{part}"), "value"] for part in ("layer.0", "layer.1", "other"))
        )
        assert own.loc[("loss_rsd", "mean"), "n"] == RECORDS * 2 // 8 // 5
        assert own.loc[("memorisation", "bleu"), "n"] == 8
        assert "tok:13a|smooth:exp" in own.loc[("memorisation", "bleu"), "library_version"]
        assert own.loc[("generation_length", "tokens"), "n"] == PROMPTS
        steps = curves[curves["cell"] == cell.cell]
        assert len(steps) == RECORDS * 2 // 8
        assert steps["loss"].notna().all()
        assert (steps["tokens_per_second"] > 0).all()


def test_a_finished_sweep_is_judged_killed_and_judged_on(real: Real) -> None:
    """kill -9 in the middle of the second cell: nothing is asked twice, and the rows are there."""
    judged = Judged(seconds=0.1)
    with JudgeServer(judged, model="mistralai/Mixtral-8x7B-Instruct-v0.1") as server:
        words = ("judge=mixtral", f"judge.endpoint={server.base_url}", "judge.concurrency=1")
        command = real.study.command("run", "-m", *real.words, *DATASETS, "stages=[judge]", *words)
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=environment()
        )
        deadline = time.monotonic() + 60
        while len(judged.asked) < PROMPTS + 4:
            assert time.monotonic() < deadline, "the judge was not asked within a minute"
            assert process.poll() is None, "the judging ended before it was killed"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        before = len(judged.asked)
        real.judge(*words)
    # The request that the kill cut off may be asked again.
    assert 2 * PROMPTS <= len(judged.asked) <= 2 * PROMPTS + 1
    assert before < len(judged.asked)
    scores = real.scores()
    rates = scores[(scores["metric"] == "win_rate") & (scores["judge"] == "mixtral")]
    assert list(rates["benchmark"]) == ["alpaca_eval", "alpaca_eval"]
    assert list(rates["n"]) == [PROMPTS, PROMPTS]
    assert not list(real.study.runs.rglob("*.replies.jsonl"))


def test_weights_that_know_no_verdicts_fail_their_stages(real: Real) -> None:
    """A random Llama as PandaLM, against answers of another model: counted, said in a line, and no score."""
    weights = (
        "judge=pandalm", f"judge.path={real.model}", "judge.max_tokens=4", "judge.dtype=float32",
        f"+judge.opponents.pandalm={real.opponent}",
    )  # fmt: skip
    failed = real.judge(*weights, code=1)
    assert failed.stdout.count(f"{PROMPTS} of {PROMPTS} verdicts cannot be read") == 2
    assert "Traceback (most" not in failed.stdout + failed.stderr
    scores = real.scores()
    assert "pandalm" not in set(scores["judge"])
    with real.registry() as registry:
        failures = [row for row in registry.stage_rows() if row.name == "judge-real-pandalm"]
    assert [(row.status, row.attempts) for row in failures] == [("failed", 1), ("failed", 1)]
