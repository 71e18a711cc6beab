"""What a judge's record says of the server: how much it answered, and as which model."""

import json
from pathlib import Path
from typing import Any

import pytest

from plw.errors import UserError
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


@pytest.mark.parametrize(("protocol", "requests", "right"), [("alpaca_eval", 3, "Tie"), ("pandalm", 6, "1")])
def test_replies_that_can_be_read_are_paid_for_once(
    protocol: str, requests: int, right: str, own_study: OwnStudy
) -> None:
    """Too many unreadable ones fail the stage; the same command asks for these alone, of a judge that is set right."""

    def vague(number: int, body: dict[str, Any]) -> Reply:
        return 200, said("Both are fine." if number == 2 else right), {}

    first, again = Server(vague), Server(lambda *_: (200, said(right), {}))
    fields = [f"suite.prompts.alpaca_eval.protocol={protocol}", "judge.model=judge", "judge.concurrency=1"]
    outcomes = []
    for server in (first, again):
        with server.running() as endpoint:
            config = own_study(f"judge.endpoint={endpoint}", "stages=[train,generate,judge]", *fields)
            outcomes.append(run(config).stages["judge"])
    assert "one of the replies: 'Both are fine.'; replies that can be read are kept" in str(outcomes[0].error)
    assert (outcomes[0].status, outcomes[1].status) == ("failed", "done")
    assert first.asked[1:2] == again.asked
    assert len(first.asked) == requests


def test_more_unreadable_verdicts_are_allowed_of_the_replies_that_were_paid_for(own_study: OwnStudy) -> None:
    """`judge.max_unparsed` says whether there is a result and not which; of a finished one it cannot be changed."""
    server = Server(lambda number, _: (200, said("Both are fine." if number in (2, 4) else "Tie"), {}))
    fields = ["judge.model=judge", "judge.concurrency=1", "stages=[train,generate,judge]"]
    with server.running() as endpoint:
        fields.append(f"judge.endpoint={endpoint}")
        assert run(own_study(*fields)).stages["judge"].status == "failed"
        assert run(own_study("judge.max_unparsed=0.5", *fields)).stages["judge"].status == "done"
        with pytest.raises(UserError, match=r"Fields, stored -> asked for: judge\.max_unparsed: 0\.5 -> 0\.05$"):
            run(own_study(*fields))
    assert len(server.asked) == 4, "three, and the one that could not be read"
