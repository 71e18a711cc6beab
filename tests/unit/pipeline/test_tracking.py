"""A tracker never fails or holds up a cell: no server, a wrong key, a silent server, a run that does not end."""

import logging
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from plw.config import TrackerConfig
from plw.errors import UserError
from plw.pipeline import tracking
from plw.pipeline.tracking import NoTracker, check_tracker, open_tracker, tracker_mode
from plw.results.score import Score

WANDB = TrackerConfig(name="wandb")
ROW = {"step": 1, "loss": 2.0, "mfu": None}
SCORE = Score(suite="s", benchmark="piqa", metric="acc", value=0.5, headline=True)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the person who runs the tests, and none left for the next test."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(tracking, "_outage", None)


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(logging.getLogger("plw"), "propagate", True)
    caplog.set_level(logging.WARNING)
    return caplog


class Refuses(BaseHTTPRequestHandler):
    """A server that knows no key."""

    def do_POST(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(params=["nobody there", "wrong key", "silent"])
def base_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that cannot be used."""
    monkeypatch.setattr(tracking, "SERVER_TIMEOUT_S", 0.5)
    if request.param == "wrong key":
        with HTTPServer(("127.0.0.1", 0), Refuses) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}"
            server.shutdown()
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_server_that_cannot_be_used_is_told_once_and_left_alone(
    base_url: str, monkeypatch: pytest.MonkeyPatch, warnings: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    import wandb

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    wandb.teardown()
    monkeypatch.setenv("WANDB_BASE_URL", base_url)
    started = time.monotonic()
    check_tracker(WANDB)
    assert time.monotonic() - started < 10
    assert tracker_mode(WANDB) == "offline"
    check_tracker(WANDB)
    tracker = open_tracker(WANDB, folder=tmp_path, id="abc", name="cell", group="study", config={"seed": 1})
    tracker.step(ROW)
    tracker.scores([SCORE])
    tracker.close()
    assert len(warnings.records) == 1
    assert "0" * 40 not in warnings.text
    assert list(tmp_path.glob("wandb/offline-run-*-abc/*.wandb"))
    wandb.teardown()


@pytest.mark.parametrize(
    ("choice", "key", "variable", "mode"),
    [
        (WANDB, "k", "", "online"),
        (WANDB, "", "", "offline"),
        (WANDB, "k", "offline", "offline"),
        (WANDB, "k", "disabled", "disabled"),
        (WANDB, "", "run", "online"),
        (WANDB, "k", "dryrun", "offline"),
        (TrackerConfig(name="wandb", mode="online"), "", "", "online"),
        (TrackerConfig(name="wandb", mode="online"), "k", "offline", "offline"),
        (TrackerConfig(name="none"), "k", "online", "disabled"),
    ],
)
def test_the_environment_decides_before_the_config(
    monkeypatch: pytest.MonkeyPatch, choice: TrackerConfig, key: str, variable: str, mode: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_MODE", variable)
    assert tracker_mode(choice) == mode
    if mode == "disabled":
        assert isinstance(open_tracker(choice, folder=Path(), id="x"), NoTracker)


def test_a_mode_that_wandb_does_not_know_is_refused_before_the_first_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(UserError, match="WANDB_MODE=ofline is not known; allowed: auto"):
        check_tracker(WANDB)
    check_tracker(TrackerConfig(name="none"))


@pytest.mark.parametrize("fails_at", ["init", "log", "finish", "never ends"])
def test_what_fails_in_wandb_is_one_warning_and_no_exception(
    monkeypatch: pytest.MonkeyPatch, warnings: pytest.LogCaptureFixture, tmp_path: Path, fails_at: str
) -> None:
    import wandb

    monkeypatch.setattr(tracking, "FINISH_TIMEOUT_S", 0.2)
    ended = threading.Event()

    class Run:
        def __init__(self) -> None:
            self.summary: dict[str, float] = {}

        def log(self, *_: Any, **__: Any) -> None:
            if fails_at == "log":
                raise wandb.errors.CommError("no route to host")

        def finish(self) -> None:
            if fails_at == "finish":
                raise OSError("disk full")
            if fails_at == "never ends":
                ended.wait()

    def init(**_: Any) -> Run:
        if fails_at == "init":
            raise wandb.errors.UsageError("no service")
        return Run()

    monkeypatch.setattr(wandb, "init", init)
    tracker = open_tracker(WANDB, folder=tmp_path, id="abc", name="cell", group="study", config={})
    started = time.monotonic()
    for _ in range(3):
        tracker.step(ROW)
    tracker.scores([SCORE])
    tracker.close()
    ended.set()
    assert time.monotonic() - started < 5
    assert len(warnings.records) == 1


def _meet_an_outage(shared: Any, told: Any) -> None:
    """A worker whose tracker fails: it says so unless another worker did, and stays offline."""
    logging.getLogger("plw").addHandler(Counts(told))
    os.environ["WANDB_MODE"] = "online"
    tracking.share_outage(shared)
    tracking._stay_offline("the connection was lost")
    assert tracker_mode(WANDB) == "offline"


class Counts(logging.Handler):
    """Counts warnings over processes."""

    def __init__(self, told: Any) -> None:
        super().__init__(logging.WARNING)
        self.told = told

    def emit(self, record: logging.LogRecord) -> None:
        with self.told.get_lock():
            self.told.value += 1


def test_an_outage_in_the_middle_of_a_grid_is_told_once_and_known_to_every_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    context = multiprocessing.get_context("fork")
    told = context.Value("i", 0)
    assert tracker_mode(WANDB) == "online"
    workers = [context.Process(target=_meet_an_outage, args=(tracking.outage_of_workers(), told)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert told.value == 1
    assert tracker_mode(WANDB) == "offline", "a cell that starts later does not try again"
    check_tracker(TrackerConfig(name="none"))
    assert tracker_mode(WANDB) == "online", "the next grid asks the server anew"


def test_a_process_without_workers_has_no_other_that_slurms_signals_could_end() -> None:
    """Slurm signals every process of a job; the watcher of a lock between processes would end with a traceback."""
    program = """
from multiprocessing import resource_tracker
from plw.config import TrackerConfig
from plw.pipeline import tracking
tracking.check_tracker(TrackerConfig(name="none"))
tracking.outage().value = 1
print(resource_tracker._resource_tracker._fd, tracking.outage_of_workers().value)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "None 1\n"
