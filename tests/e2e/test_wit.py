"""The WIT study by the real command: both weights' grid, all suites and DPO's stage, to a report that shows them."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.e2e.conftest import SHORT_WORK, SMALL_WORLD, Study

pytestmark = pytest.mark.slow

GRID = (
    "scale=mini",
    "study.weights.six='0,0.4'",
    "study.weights.five=1",
    "model=world-wide-1",
    "dataset=world-few",
    *SMALL_WORLD,
    *SHORT_WORK,
    "execution.workers=1",
)
PAIRS = {("0.0", "1.0"), ("0.4", "1.0"), ("1.0", "0.0")}
BENCHMARKS = {"mmlu", "bbh", "ifeval", "alpaca_eval", "mt_bench", "prompt_sensitivity"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Study:
    """The grid of three pairs, then the same with preferences."""
    study = Study(runs=tmp_path_factory.mktemp("wit") / "runs", cache=cache)
    study.call("run", "-m", "study=wit", *GRID)
    study.call("run", "-m", "study=wit-dpo", *GRID)
    return study


@pytest.mark.parametrize("name", ["wit", "wit-dpo"])
def test_every_pair_of_weights_has_every_benchmark(swept: Study, name: str) -> None:
    exported = swept.call("registry", "export", f"study={name}", "scale=mini").stdout
    rows = list(csv.DictReader(io.StringIO(exported)))
    found = {(row["prompt_weight"], row["response_weight"], row["benchmark"]) for row in rows}
    wanted = BENCHMARKS | ({"preferences"} if name == "wit-dpo" else set())
    assert {(*pair, benchmark) for pair in PAIRS for benchmark in wanted} <= found


def test_preferences_start_from_the_trainings_that_are_there(swept: Study) -> None:
    records = [json.loads(path.read_text()) for path in swept.runs.rglob("train/record.json")]
    assert len({record["fingerprint"] for record in records}) == len(PAIRS)
    assert len(list(swept.runs.rglob("preference*/record.json"))) == len(PAIRS)


@pytest.mark.parametrize("name", ["wit", "wit-dpo"])
def test_the_report_shows_both_weights(swept: Study, name: str) -> None:
    swept.call("report", f"study={name}", "scale=mini")
    page = (swept.runs / f"{name}-mini/report/index.html").read_text()
    assert "Over both weights, the best of 3 pairs" in page
    assert ("Preferences after the fine-tuning" in page) == (name == "wit-dpo")


def test_a_second_sweep_does_nothing(swept: Study) -> None:
    again = swept.call("run", "-m", "study=wit-dpo", *GRID)
    assert f"0 cells run, {len(PAIRS)} done before" in again.stdout
