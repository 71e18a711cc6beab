"""A stage runs once: skipped when done, refused when drifted, retried when it fails, silent when its claim is lost."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plw.errors import ClaimLostError, RegistryAwayError, StageError, UserError
from plw.paths import RECORD
from plw.pipeline.stage import FAILURE, Outcome, RetryPolicy, Stage, StageResult, run_stage
from plw.registry import CellRow, Owner, Registry, StageKey
from plw.registry.owner import abandoned
from plw.results.score import Score
from plw.runtime.interrupt import Interrupted

FINGERPRINT = "f" * 64
CELL = CellRow(
    study="s", scale="t", cell="c" * 64, dataset="d", model="m", prompt_weight=0.1, response_weight=1.0,
    normalizer="nonzero", scope="batch", seed=1, folder="s-t/d/m/x", payload="{}", created=1.0, recipe="plain",
)  # fmt: skip
KEY = StageKey(study="s", scale="t", cell="c" * 64, name="harness-x")


class Claims:
    """The claims of one process on the stage, on a real registry."""

    def __init__(self, registry: Registry, now: float | None = 1.0, lease_timeout_s: float = 60) -> None:
        self.registry = registry
        self.owner = Owner.here()
        self.taken_from = None
        self.now = now
        self.lease_timeout_s = lease_timeout_s

    def claim(self) -> Any:
        self.owner = Owner.here()
        answer = self.registry.claim(
            KEY,
            kind="harness",
            fingerprint=FINGERPRINT,
            owner=self.owner,
            lease_timeout_s=self.lease_timeout_s,
            now=time.time() if self.now is None else self.now,
            redo=True,
        )
        self.taken_from = getattr(answer, "taken_from", None)
        return "claimed" if type(answer).__name__ == "Claimed" else "busy"

    def heartbeat(self, *, wait: bool) -> bool:
        return self.registry.heartbeat(KEY, self.owner.token, wait=wait)

    def finish(self, record: dict[str, Any]) -> bool:
        return self.registry.finish(KEY, self.owner.token, record)

    def import_record(self, record: dict[str, Any]) -> None:
        self.registry.import_record(record)

    def fail(self, error: str, trace: str) -> None:
        self.registry.fail(KEY, self.owner.token, error, trace)

    def release(self) -> None:
        self.registry.release(KEY, self.owner.token)


@pytest.fixture
def registry(tmp_path: Path) -> Any:
    with Registry.open(f"sqlite:///{tmp_path}/registry.sqlite") as opened:
        opened.ensure_cell(CELL)
        yield opened


def stage(tmp_path: Path, shots: int = 0) -> Stage:
    payload = {"train": "abc", "shots": shots}
    folder = tmp_path / "cell" / "harness-x"
    return Stage(kind="harness", name="harness-x", folder=folder, fingerprint=FINGERPRINT, payload=payload)


def run(
    tmp_path: Path,
    registry: Registry,
    work: Callable[[Callable[[], None]], StageResult],
    *,
    shots: int = 0,
    attempts: int = 2,
) -> Outcome:
    retry = RetryPolicy(max_attempts=attempts, heartbeat_s=0.01, lease_timeout_s=60)
    return run_stage(stage(tmp_path, shots), Claims(registry), work, cell=CELL.to_dict(), retry=retry)


def product(_: Callable[[], None]) -> StageResult:
    return StageResult(scores=[Score(suite="x", benchmark="arc", metric="acc", value=0.5, n=10, headline=True)])


def never(_: Callable[[], None]) -> StageResult:
    raise AssertionError("the work of a finished stage was done again")


def test_done_once_then_skipped(tmp_path: Path, registry: Registry) -> None:
    assert run(tmp_path, registry, product).status == "done"
    record = json.loads((stage(tmp_path).folder / RECORD).read_text())
    assert (record["attempts"], record["scores"][0]["value"]) == (1, 0.5)
    assert [(row.status, row.fingerprint) for row in registry.stage_rows()] == [("done", FINGERPRINT)]
    assert run(tmp_path, registry, never).status == "skipped"


def test_what_a_killed_attempt_had_half_written_is_removed(tmp_path: Path, registry: Registry) -> None:
    folder = stage(tmp_path).folder
    folder.mkdir(parents=True)
    (folder / ".payload.json.x1.tmp").write_text("{")
    (folder / ".model.tmp").mkdir()
    assert run(tmp_path, registry, product).status == "done"
    assert not (folder / ".payload.json.x1.tmp").exists()
    assert (folder / ".model.tmp").is_dir(), "a folder belongs to the work that makes it"


def test_a_record_that_the_registry_lost_is_adopted(tmp_path: Path, registry: Registry) -> None:
    run(tmp_path, registry, product)
    with Registry.open(f"sqlite:///{tmp_path}/other.sqlite") as other:
        assert run(tmp_path, other, never).status == "skipped"
        assert list(other.scores_frame()["value"]) == [0.5]


def test_another_payload_is_refused_with_the_field(tmp_path: Path, registry: Registry) -> None:
    run(tmp_path, registry, product)
    with pytest.raises(UserError, match=r"shots: 0 -> 5"):
        run(tmp_path, registry, never, shots=5)


def test_a_payload_of_work_that_was_cut_is_refused_too(tmp_path: Path, registry: Registry) -> None:
    def cut(_: Callable[[], None]) -> StageResult:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, registry, cut)
    with pytest.raises(UserError, match=r"shots: 0 -> 5"):
        run(tmp_path, registry, never, shots=5)


def test_a_failure_is_tried_again_and_forgotten_when_it_heals(tmp_path: Path, registry: Registry) -> None:
    tries: list[int] = []

    def heals(check_lease: Callable[[], None]) -> StageResult:
        tries.append(1)
        if len(tries) == 1:
            raise StageError("the judge answered garbage")
        return product(check_lease)

    assert run(tmp_path, registry, heals).status == "done"
    assert len(tries) == 2
    assert not (stage(tmp_path).folder / FAILURE).exists()


def test_a_failure_that_stays_keeps_error_and_traceback(tmp_path: Path, registry: Registry) -> None:
    def breaks(_: Callable[[], None]) -> StageResult:
        raise ValueError("no\nsuch thing")

    outcome = run(tmp_path, registry, breaks, attempts=3)
    assert (outcome.status, outcome.error) == ("failed", "ValueError: no such thing")
    kept = json.loads((stage(tmp_path).folder / FAILURE).read_text())
    assert "Traceback" in kept["traceback"]
    (row,) = registry.stage_rows()
    assert (row.status, row.attempts, row.error) == ("failed", 3, "ValueError: no such thing")
    assert not (stage(tmp_path).folder / RECORD).exists()


def test_a_key_that_a_server_quotes_is_stored_nowhere(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-of-mine")

    def refused(_: Callable[[], None]) -> StageResult:
        raise StageError("HTTP 401: Incorrect API key provided: sk-very-secret-of-mine")

    outcome = run(tmp_path, registry, refused)

    assert outcome.error == "HTTP 401: Incorrect API key provided: [OPENAI_API_KEY]"
    stored = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(stored) > 2
    assert not any(b"very-secret" in content for content in stored)


def test_a_users_mistake_is_not_tried_again(tmp_path: Path, registry: Registry) -> None:
    tries: list[int] = []

    def mistaken(_: Callable[[], None]) -> StageResult:
        tries.append(1)
        raise UserError("row 3 has no output")

    assert run(tmp_path, registry, mistaken, attempts=3).error == "row 3 has no output"
    assert len(tries) == 1


def test_a_stage_that_another_process_lives_on_is_busy(tmp_path: Path, registry: Registry) -> None:
    registry.claim(
        KEY, kind="harness", fingerprint=FINGERPRINT, owner=Owner.here(), lease_timeout_s=60, now=time.time()
    )
    assert run(tmp_path, registry, never).status == "busy"


def test_a_lost_claim_stops_the_work_and_writes_nothing(tmp_path: Path, registry: Registry) -> None:
    def loses(check_lease: Callable[[], None]) -> StageResult:
        registry.claim(KEY, kind="harness", fingerprint=FINGERPRINT, owner=Owner.here(), lease_timeout_s=-1, now=1e12)
        waited = threading.Event()
        for _ in range(500):
            check_lease()
            waited.wait(0.01)
        raise AssertionError("the loss of the claim was not noticed within five seconds")

    with pytest.raises(ClaimLostError):
        run(tmp_path, registry, loses)
    assert not (stage(tmp_path).folder / RECORD).exists()
    assert registry.stage_rows()[0].status == "running"


def test_a_registry_that_stays_away_at_the_end_costs_no_work(tmp_path: Path, registry: Registry) -> None:
    class Away(Claims):
        def finish(self, record: dict[str, Any]) -> bool:
            raise RegistryAwayError("the registry does not answer")

        def fail(self, error: str, trace: str) -> None:
            raise AssertionError("a stage whose record is written has not failed")

    retry = RetryPolicy(max_attempts=2, heartbeat_s=0.01, lease_timeout_s=60)
    with pytest.raises(RegistryAwayError):
        run_stage(stage(tmp_path), Away(registry), product, cell=CELL.to_dict(), retry=retry)
    assert (stage(tmp_path).folder / RECORD).exists()
    assert registry.scores_frame().empty
    assert run(tmp_path, registry, never).status == "skipped"
    assert list(registry.scores_frame()["value"]) == [0.5]


@pytest.mark.parametrize("away", [False, True])
def test_work_that_is_stopped_in_order_gives_its_claim_back(away: bool, tmp_path: Path, registry: Registry) -> None:
    """Another machine goes on at once; where the registry is away, once the claim has grown old."""

    class Leaving(Claims):
        def release(self) -> None:
            if away:
                raise RegistryAwayError("the registry does not answer")
            super().release()

    def stopped(_: Callable[[], None]) -> StageResult:
        raise Interrupted(signal.SIGTERM)

    retry = RetryPolicy(max_attempts=2, heartbeat_s=60, lease_timeout_s=60)
    with pytest.raises(Interrupted):
        run_stage(stage(tmp_path), Leaving(registry), stopped, cell=CELL.to_dict(), retry=retry)
    (row,) = registry.stage_rows()
    assert row.status == "running"
    assert abandoned(row, "elsewhere", 60, 1.0) == (not away)


def test_a_failure_that_cannot_be_noted_is_still_that_failure(tmp_path: Path, registry: Registry) -> None:
    class Broken(Claims):
        def fail(self, error: str, trace: str) -> None:
            raise RuntimeError("no database")

    def breaks(_: Callable[[], None]) -> StageResult:
        (stage(tmp_path).folder / FAILURE).mkdir()
        raise StageError("the judge answered garbage")

    retry = RetryPolicy(max_attempts=1, heartbeat_s=0.01, lease_timeout_s=60)
    outcome = run_stage(stage(tmp_path), Broken(registry), breaks, cell=CELL.to_dict(), retry=retry)
    assert (outcome.status, outcome.error) == ("failed", "the judge answered garbage")


STOPPED = """
import sys, time
from pathlib import Path
from plw.errors import ClaimLostError
from plw.pipeline.stage import StageResult
from tests.unit.pipeline import test_stage as t

def work(check_lease):
    with open(sys.argv[2], "a") as file:
        while True:
            check_lease()
            file.write("x"); file.flush()
            time.sleep(0.01)

with t.Registry.open(sys.argv[1]) as registry:
    retry = t.RetryPolicy(max_attempts=2, heartbeat_s=0.2, lease_timeout_s=0.8)
    folder = Path(sys.argv[2]).parent
    try:
        t.run_stage(t.stage(folder), t.Claims(registry, now=None), work, cell=t.CELL.to_dict(), retry=retry)
    except ClaimLostError:
        sys.exit(17)
"""


def test_a_process_that_was_stopped_writes_nothing_once_its_claim_is_taken(tmp_path: Path, registry: Registry) -> None:
    written = tmp_path / "written"
    command = [sys.executable, "-c", STOPPED, f"sqlite:///{tmp_path}/registry.sqlite", str(written)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[3]) as process:
        try:
            deadline = time.monotonic() + 60
            while not (written.exists() and written.stat().st_size > 20):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.02)
            with registry.transaction():
                # Stopped in the middle of a heartbeat, it would keep the database locked for as long as it sleeps.
                process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            time.sleep(1.2)
            claims = Claims(registry, now=None, lease_timeout_s=0.8)
            assert claims.claim() == "claimed"
            assert f"process {process.pid} on" in str(claims.taken_from), "a takeover says from whom"
            before = written.stat().st_size
            process.send_signal(signal.SIGCONT)
            assert process.wait(timeout=30) == 17
            assert written.stat().st_size == before
            assert not (stage(tmp_path).folder / RECORD).exists()
            assert not (stage(tmp_path).folder / FAILURE).exists()
        finally:
            process.kill()


def test_a_claim_lost_at_the_last_moment_writes_no_record(tmp_path: Path, registry: Registry) -> None:
    def loses(_: Callable[[], None]) -> StageResult:
        registry.claim(KEY, kind="harness", fingerprint=FINGERPRINT, owner=Owner.here(), lease_timeout_s=-1, now=1e12)
        return product(_)

    with pytest.raises(ClaimLostError):
        run(tmp_path, registry, loses)
    assert not (stage(tmp_path).folder / RECORD).exists()


def test_an_endless_recursion_leaves_a_file_of_bounded_size(tmp_path: Path, registry: Registry) -> None:
    def one(depth: int) -> StageResult:
        return other(depth + 1)

    def other(depth: int) -> StageResult:
        return one(depth + 1)

    outcome = run(tmp_path, registry, lambda _: one(0), attempts=1)
    assert outcome.status == "failed"
    kept = (stage(tmp_path).folder / FAILURE).read_text()
    assert len(kept) < 20_000
    assert "RecursionError" in json.loads(kept)["error"]
    trace = json.loads(kept)["traceback"]
    assert trace.startswith("Traceback")
    assert trace.rstrip().splitlines()[-1].startswith("RecursionError")
