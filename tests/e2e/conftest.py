"""Studies run by the real command on a very small embedded world, which is built once for all tests."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from plw.files.hashing import file_hash
from plw.results.items import ITEMS
from tests.made_once import made_once

SMALL_WORLD = (
    "world.people=12",
    "world.cities=6",
    "world.tools=8",
    "world.myths=8",
    "world.records=48",
    "world.documents=8",
    "world.long_prompts=[6,4]",
    "world.vocabulary=600",
    "world.bases=1",
    "world.pretraining.steps=30",
    "++world.thresholds={facts:0,two_hops:0,tools:0,truths:0,translation:0}",
)
SHORT_WORK = (
    "recipe.epochs=1",
    "suite.decoding.max_new_tokens=16",
    "suite.diagnostics.memorisation_samples=4",
    "suite.diagnostics.memorisation_max_new_tokens=8",
    "suite.bootstrap_iterations=10",
    "tracker=none",
)
GRID = (
    "loss.prompt_weight=0,0.1",
    "model=world-wide-1",
    "dataset=world-cleaned,world-short",
)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A runs folder and the command line that works on it."""

    runs: Path
    cache: Path

    def command(self, *arguments: str) -> list[str]:
        """A ``plw`` command on this study."""
        here = (f"execution.runs={self.runs}", f"execution.cache={self.cache}")
        return [str(Path(sys.executable).with_name("plw")), *arguments, *here]

    def call(self, *arguments: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        done = subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False, env=environment())
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def sweep(self, *overrides: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the small grid."""
        return self.call("run", "-m", *GRID, *SMALL_WORLD, *SHORT_WORK, *overrides, code=code)

    def items(self) -> dict[str, str]:
        """SHA-256 of every stage's item table."""
        return {str(path.relative_to(self.runs)): file_hash(path) for path in sorted(self.runs.rglob(ITEMS))}

    def scores(self) -> str:
        """The exported scores."""
        return self.call("registry", "export").stdout


def environment() -> dict[str, str]:
    """The environment without what a test run may have set for itself."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("HYDRA_", "PYTEST_", "WANDB_"))}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the world is built: in one place for all workers of the run."""
    return made_once(tmp_path_factory, "e2e-cache", Path.mkdir)


@pytest.fixture
def study(tmp_path: Path, cache: Path) -> Study:
    return Study(runs=tmp_path / "runs", cache=cache)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Study:
    """The small grid, run by one worker from start to end. Shared by all tests of the run: read it, never write."""

    def sweep(runs: Path) -> None:
        Study(runs=runs, cache=cache).sweep("execution.workers=1")

    return Study(runs=made_once(tmp_path_factory, "undisturbed", sweep), cache=cache)


@pytest.fixture
def finished(undisturbed: Study, study: Study) -> Study:
    """A copy of the finished grid, to change as a test likes."""
    shutil.copytree(undisturbed.runs, study.runs)
    return study
