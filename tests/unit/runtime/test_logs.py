"""The project's log lines: the level by PLW_LOG, to standard error, once; other loggers are left alone."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import logging
from plw.runtime.logs import configure_logging
configure_logging()
configure_logging()
logging.getLogger("plw.somewhere").info("a decision")
logging.getLogger("analysis.somewhere").warning("a warning")
logging.getLogger("a_library").info("its chatter")
logging.getLogger("a_library").warning("its warning")
shown = logging.getLogger("a_showing_library")
shown.addHandler(logging.StreamHandler())
shown.getChild("part").warning("its own line")
"""


def lines(level: str | None) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | ({} if level is None else {"PLW_LOG": level})
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize(("level", "decisions"), [(None, 0), ("warning", 0), ("INFO", 1), ("debug", 1)])
def test_the_level_is_the_variables_and_each_line_comes_once(level: str | None, decisions: int) -> None:
    found = lines(level)
    assert sum("a decision" in line for line in found) == decisions
    assert sum("a warning" in line for line in found) == 1
    assert sum("its warning" in line for line in found) == 1
    assert sum("its own line" in line for line in found) == 1, "a library's handler has shown it"
    assert not any("its chatter" in line for line in found), "the level is that of the project's own lines"


def test_an_unknown_level_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PLW_LOG": "loud"}
    done = subprocess.run(
        [sys.executable, "-m", "plw", "--help"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for word in ("PLW_LOG=loud", *map(logging.getLevelName, (10, 20, 30, 40))):
        assert word in done.stderr
