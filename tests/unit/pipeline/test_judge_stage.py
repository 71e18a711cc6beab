"""What a judge's record says of the server: how much it answered, and as which model."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.judge_server import Reply, Server, said
from tests.unit.pipeline.conftest import OwnStudy, run


def test_the_record_names_the_models_that_answered_and_their_tokens(
    own_study: OwnStudy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A name such as gpt-4o-mini is another model from time to time, and a router may take a third."""

    def reply(number: int, body: dict[str, Any]) -> Reply:
        model = "judge-2024-07" if number > 1 else "judge-2025-01"
        return 200, {**said("Tie"), "model": model, "usage": {"total_tokens": 40}}, {}

    with Server(reply).running() as endpoint:
        run(own_study(f"judge.endpoint={endpoint}", "judge.model=judge", "stages=[train,generate,judge]"))
    (record,) = tmp_path.rglob("judge-*/record.json")
    judged = json.loads(record.read_text())["judged"]["alpaca_eval"]
    assert judged["replies"] == judged["pairs"]
    assert judged["tokens"] == 40 * judged["replies"]
    assert judged["models"] == ["judge-2024-07", "judge-2025-01"]
    assert "answered as several models: judge-2024-07, judge-2025-01" in caplog.text
