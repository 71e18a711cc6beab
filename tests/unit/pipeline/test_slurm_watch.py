"""Jobs that are waited for: a queue that does not answer is asked again, and of a job that is gone its end is told."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from plw.errors import StageError
from plw.pipeline import resolve_cell
from plw.sweep.slurm.queue import Submission
from plw.sweep.slurm.submit import SlurmOptions, submit_grid
from tests.unit.pipeline.conftest import OwnStudy

SQUEUE = """#!/bin/sh
echo >> {folder}/looks
case "$*-$(wc -l < {folder}/looks)" in
  *--states=all*) echo "7|0|CANCELLED|None|0:00||0" ;;
  *-1|*-2) echo "7|0|PENDING|Resources|0:00||0" ;;
  *-3) echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1 ;;
esac
"""


def test_a_queue_that_is_silent_for_a_while_ends_no_wait(
    own_study: OwnStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = own_study("stages=[train]")
    cell = resolve_cell(config)
    Submission(array="7", cells=[(cell.fingerprint, cell.label)]).write(config.study_folder)
    (tmp_path / "squeue").write_text(SQUEUE.format(folder=tmp_path))
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    screen = Console(file=io.StringIO(), width=300)
    with pytest.raises(StageError, match="1 cell undone"):
        submit_grid([config], SlurmOptions(poll_s=0.01), screen)
    said = screen.file.getvalue()
    assert "1 in the queue already" in said
    assert said.index("1 pending") < said.index("asked again") < said.index("cancelled; job 7_0 left no log")
