"""Real data through the same code: a local Llama folder, AlpacaDataCleaned and its inversion, PIQA by lm-eval."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Study

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DOCUMENTS = 100


def test_one_cell_each(study: Study, shared_data: Path, tmp_path: Path) -> None:
    model = tmp_path / "tiny-llama"
    script = ROOT / "scripts" / "make_tiny_llama.py"
    sizes = ("--hidden", "32", "--layers", "2")
    subprocess.run([sys.executable, script, shared_data / "llama_tokenizer.model", model, *sizes], check=True)
    for dataset in ("file", "file-short"):
        study.call(
            "run", "study=own", "scale=own", "model=folder", "model.name=tiny", f"model.path={model}",
            f"dataset={dataset}", f"dataset.name={dataset}", "dataset.limit=96",
            f"dataset.path={shared_data}/alpaca/alpaca_cleaned_999.json", "recipe.epochs=1", "recipe.batch_size=16",
            "recipe.max_length=256", "loss.prompt_weight=0.1", "suite=piqa", f"suite.limit={DOCUMENTS}",
            f"+suite.tasks.piqa.files.validation={shared_data}/tasks/piqa_validation.jsonl",
            "suite.diagnostics.memorisation_samples=4", "suite.diagnostics.memorisation_max_new_tokens=8",
            "tracker=none",
        )  # fmt: skip
    exported = study.call("registry", "export", "study=own", "scale=own").stdout
    scores = [row for row in csv.DictReader(io.StringIO(exported)) if row["headline"] == "true"]
    assert {(row["dataset"], row["benchmark"], row["metric"], row["n"]) for row in scores} == {
        ("file", "piqa", "acc_norm", str(DOCUMENTS)),
        ("file-short", "piqa", "acc_norm", str(DOCUMENTS)),
    }
    ratios = {row["dataset"]: float(row["r_g"]) for row in scores}
    assert ratios["file"] > 1 > ratios["file-short"]
    assert all(0.3 < float(row["value"]) < 0.8 for row in scores)
