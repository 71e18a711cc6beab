"""The wheel, installed into an empty environment far from the clone, runs a study of four cells to its report."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import GRID, SHORT_WORK, SMALL_WORLD, environment

ROOT = Path(__file__).parents[2]
PARTS = {"plw": "plw", "analysis": "analysis", "hydra_plugins": "hydra_plugins", "conf": "plw/conf"}
"""A folder of the checkout -> where it lies in the wheel."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("plw-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's folder of commands. Only the wheel is installed there; other packages are seen, not copied."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder)
    python = folder / "bin" / "python"
    place = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(pip, check=True, env=clean())
    (place / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def clean() -> dict[str, str]:
    """The environment without what would let the clone be imported."""
    return {key: value for key, value in environment().items() if key != "PYTHONPATH"}


def test_everything_that_is_read_at_run_time_travels(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder, place in PARTS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                name = f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
                assert name in inside, f"{name} is not in the wheel"
    for name in ("plw/conf/config.yaml", "analysis/R/glmm.R", "analysis/report/web/template.html"):
        assert name in inside
    assert any(name.startswith("plw/conf/judge_prompts/") for name in inside)
    assert not any(name.startswith(("tests/", "scripts/", "conf/")) for name in inside)


def test_the_installed_wheel_runs_a_study_and_its_report(installed: Path, tmp_path: Path) -> None:
    def call(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=clean(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    found = call(installed / "python", "-c", "import plw, analysis; print(plw.__file__, analysis.__file__)").split()
    assert all(Path(name).is_relative_to(installed.parent) for name in found)

    command = installed / "plw"
    swept = call(command, "run", "-m", *GRID, *SMALL_WORLD, *SHORT_WORK)
    assert "4 cells run" in swept
    call(command, "report")
    report = tmp_path / "runs" / "plw-mini" / "report"
    page = (report / "index.html").read_text()
    for script in (ROOT / "analysis" / "report" / "web").glob("*.js"):
        assert script.read_text().strip().splitlines()[-1].strip() in page
    assert list(report.rglob("*.png"))
    assert "0 cells run, 4 done before" in call(command, "run", "-m", *GRID, *SMALL_WORLD, *SHORT_WORK)
