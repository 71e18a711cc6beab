"""The judge's path in a sweep: a judge that answers garbage fails its stage in one line, and the rest goes on."""

import pytest

from plw.world.server import JudgeServer
from tests.e2e.conftest import Study

pytestmark = pytest.mark.slow


def test_garbage_fails_the_stage_and_the_sweep_goes_on(study: Study) -> None:
    with JudgeServer(lambda prompt: "bananas are yellow") as server:
        judge = ("judge=openai", "judge.name=garbage", "judge.model=judge", f"judge.endpoint={server.base_url}")
        once = ("execution.max_attempts=1", "execution.workers=1")
        done = study.sweep(*judge, "dataset=world-short", *once, code=1)
    assert done.stdout.count("cannot be read") == 2, done.stdout
    assert "2 stages failed" in done.stdout
    assert "Traceback (most" not in done.stdout + done.stderr
    status = study.call("status").stdout
    assert "cannot be read" in status
    assert len(list(study.runs.rglob("generate-world/record.json"))) == 2
    assert not list(study.runs.rglob("judge-*/record.json"))
