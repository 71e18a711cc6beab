"""Real items: PIQA's and TruthfulQA's documents, answered by two tiny models, as lm-eval itself writes them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lm_eval
import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from typer.testing import CliRunner

from plw.cli import app
from plw.evaluate.quiet import quiet
from plw.testing.models import make_random_llama

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

pytestmark = pytest.mark.slow

DOCUMENTS = 400
"""The first of each benchmark, among them goals that PIQA asks several times."""
LM_EVAL_TASKS = Path(lm_eval.__file__).parent / "tasks"


def write_tasks(folder: Path, data: Path) -> None:
    """lm-eval's tasks on local files; TruthfulQA without its six examples, which would be most of the time."""
    (folder / "piqa_local.yaml").write_text(
        f"include: {LM_EVAL_TASKS}/piqa/piqa.yaml\ntask: piqa\ndataset_path: json\ndataset_name: null\n"
        f"training_split: null\ndataset_kwargs: {{data_files: {{validation: {data}/piqa_validation.jsonl}}}}\n"
    )
    (folder / "truthfulqa_local.yaml").write_text(
        f"include: {LM_EVAL_TASKS}/truthfulqa/truthfulqa_mc2.yaml\ntask: truthfulqa_mc2\ndataset_path: json\n"
        "dataset_name: null\ntraining_split: null\ndoc_to_text: 'Q: {{question}}\\nA:'\n"
        f"dataset_kwargs: {{data_files: {{validation: {data}/truthfulqa_multiple_choice.jsonl}}}}\n"
    )


@pytest.fixture(scope="module")
def evaluated(
    shared_data: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Folders as `lm_eval --log_samples --output_path` leaves them, one a model."""
    import datasets
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    work = tmp_path_factory.mktemp("real")
    write_tasks(work, shared_data / "tasks")
    folders = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(work / "cache"))
        for seed in (0, 1):
            model = make_random_llama(work / f"model-{seed}", tiny_tokenizer, hidden=16, layers=1, heads=2, seed=seed)
            tracker = EvaluationTracker(output_path=str(work / f"results-{seed}"))
            with quiet("lm_eval", "datasets", "transformers"):
                result: Any = lm_eval.simple_evaluate(
                    model="hf",
                    model_args={"pretrained": str(model), "dtype": "float32"},
                    tasks=["piqa", "truthfulqa_mc2"],
                    task_manager=TaskManager(include_path=str(work), include_defaults=False),
                    batch_size=128,
                    device="cpu",
                    log_samples=True,
                    evaluation_tracker=tracker,
                    bootstrap_iters=0,
                    limit=DOCUMENTS,
                )
                samples = result.pop("samples")
                tracker.save_results_aggregated(results=result, samples=samples)
                for task, rows in samples.items():
                    tracker.save_results_samples(task_name=task, samples=rows)
            folders.append(work / f"results-{seed}")
    return folders


def item_values(folder: Path, task: str, metric: str) -> np.ndarray:
    """In the order of the documents."""
    (path,) = folder.glob(f"*/samples_{task}_*.jsonl")
    rows = sorted(map(json.loads, path.read_text().splitlines()), key=lambda row: row["doc_id"])
    return np.array([row[metric] for row in rows], dtype=float)


def test_real_items_give_the_numbers_of_scipy_and_statsmodels(evaluated: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.json"

    done = CliRunner().invoke(app, ["compare", *map(str, evaluated), "--json", str(out)], catch_exceptions=False)

    rows = {row["benchmark"]: row for row in json.loads(out.read_text())["benchmarks"]}
    assert done.exit_code == 0
    assert {name: (row["n"], row["metric"]) for name, row in rows.items()} == {
        "piqa": (DOCUMENTS, "acc_norm"), "truthfulqa_mc2": (DOCUMENTS, "acc")
    }  # fmt: skip
    a_N, b_N = (item_values(folder, "piqa", "acc_norm") for folder in evaluated)
    only_b, split = int((b_N > a_N).sum()), int((a_N != b_N).sum())
    assert rows["piqa"]["p"] == pytest.approx(stats.binomtest(only_b, split).pvalue)
    assert (rows["piqa"]["a"], rows["piqa"]["b"]) == pytest.approx((a_N.mean(), b_N.mean()))
    a_N, b_N = (item_values(folder, "truthfulqa_mc2", "acc") for folder in evaluated)
    theirs = sm.OLS(b_N - a_N, np.ones(DOCUMENTS)).fit(
        cov_type="cluster", cov_kwds={"groups": np.arange(DOCUMENTS)}, use_t=True
    )
    row = rows["truthfulqa_mc2"]
    assert (row["difference"], row["se"], row["p"]) == pytest.approx(
        (theirs.params[0], theirs.bse[0], theirs.pvalues[0])
    )
    assert (row["low"], row["high"]) == pytest.approx(tuple(theirs.conf_int()[0]))


def test_real_items_in_clusters_of_a_field_equal_statsmodels(evaluated: list[Path], tmp_path: Path) -> None:
    """PIQA asks some goals several times."""
    out = tmp_path / "out.json"

    CliRunner().invoke(
        app, ["compare", *map(str, evaluated), "--cluster", "goal", "--json", str(out)], catch_exceptions=False
    )

    row = next(row for row in json.loads(out.read_text())["benchmarks"] if row["benchmark"] == "piqa")
    (path,) = evaluated[0].glob("*/samples_piqa_*.jsonl")
    samples = sorted(map(json.loads, path.read_text().splitlines()), key=lambda row: row["doc_id"])
    goal_N = np.unique([sample["doc"]["goal"] for sample in samples], return_inverse=True)[1]
    a_N, b_N = (item_values(folder, "piqa", "acc_norm") for folder in evaluated)
    theirs = sm.OLS(b_N - a_N, np.ones(DOCUMENTS)).fit(cov_type="cluster", cov_kwds={"groups": goal_N}, use_t=True)
    assert row["clusters"] == goal_N.max() + 1 < DOCUMENTS
    assert row["se"] == pytest.approx(theirs.bse[0])
    # Nearly all goals are asked once, so the degrees of freedom of unequal clusters are nearly theirs.
    assert row["p"] == pytest.approx(theirs.pvalues[0], rel=0.01)
