"""A real study with faults at moments of a seed's choosing ends as one without: each stage done once, equal scores.

`make faults SEED=1 MINUTES=20` runs the mini study in this way; without MINUTES a small slice of it meets each fault
once.
"""

import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from plw.world.judge import FactJudge
from tests.e2e.conftest import SHORT_WORK, SMALL_WORLD
from tests.faults.commands import Commands, Installed, Program, Warm
from tests.faults.databases import database
from tests.faults.injector import Injector
from tests.faults.judge import TRICKS, JudgeOutOfOrder
from tests.faults.outcome import Results, done_more_than_once, results
from tests.small_disk import CannotMountError, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SLICE = (
    "loss.prompt_weight=0,0.1", "model=world-wide-1", "dataset=world-short", *SMALL_WORLD, *SHORT_WORK,
    "world.pretraining.steps=5", "suite.limit=3", "recipe.epochs=3",
)  # fmt: skip
SEED, MINUTES = int(os.environ.get("FAULTS_SEED", "1")), float(os.environ.get("FAULTS_MINUTES", "0"))
JUDGE_TIMEOUT_S, LEASE_S = 1.5, 4.0
COMMON = (
    "study=plw", "scale=mini", "tracker=none", "judge.max_unparsed=0", f"judge.timeout_s={JUDGE_TIMEOUT_S}",
    "execution.threads=1", "execution.heartbeat_s=1", f"execution.lease_timeout_s={LEASE_S}",
    f"execution.checkpoint_seconds={1 if MINUTES else 0.05}", "execution.max_attempts=3", "registry.wait_s=120",
)  # fmt: skip
ROUNDS = 6
"""How often the command may be run, and what it names removed, until all is done."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is done, and with what."""

    seed: int
    minutes: float
    """0: each fault once."""
    grid: tuple[str, ...]
    workers: int
    """Of each of two commands."""
    disk: str
    seconds: float
    """That the study may take to its end once all is in order."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    if MINUTES:
        grid = tuple(os.environ.get("FAULTS_GRID", "").split())
        return Plan(seed=SEED, minutes=MINUTES, grid=grid, workers=2, disk="1g", seconds=3600)
    return Plan(seed=SEED, minutes=0, grid=SLICE, workers=1, disk="64m", seconds=150)


@pytest.fixture(scope="module")
def program(plan: Plan) -> Iterator[Program]:
    started: Program = Installed() if plan.minutes else Warm()
    try:
        yield started
    finally:
        started.close()


@dataclass(frozen=True)
class Undisturbed:
    cache: Path
    results: Results
    stages: int


def words(plan: Plan, *, runs: Path, cache: Path, url: str, workers: int, endpoint: str | None) -> tuple[str, ...]:
    """`plw run -m` of the plan's grid."""
    judge = () if endpoint is None else (f"judge.endpoint={endpoint}",)
    return (
        "run", "-m", *COMMON, *plan.grid, f"execution.workers={workers}", f"execution.runs={runs}",
        f"execution.cache={cache}", "registry=url", f"registry.url={url}", *judge,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(plan: Plan, program: Program, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The same grid by one command, without faults."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs, cache, url = folder / "runs", folder / "cache", f"sqlite:///{folder}/runs/registry.sqlite"
    wanted = words(plan, runs=runs, cache=cache, url=url, workers=2 if plan.minutes else 1, endpoint=None)
    alone = Commands(program, [wanted], folder / "logs")
    alone.tend()
    alone.wait(3600)
    assert alone.all[0].codes == [0], alone.all[0].said()
    stages = len(list(runs.rglob("record.json")))
    assert done_more_than_once(runs, url, stages) == []
    return Undisturbed(cache, results(runs, url), stages)


@pytest.mark.timeout(0 if MINUTES else 900)
def test_a_study_survives(plan: Plan, program: Program, undisturbed: Undisturbed, tmp_path: Path) -> None:
    dice, number, end = random.Random(plan.seed), 0, time.monotonic() + 60 * plan.minutes
    print(f"\nseed {plan.seed}")
    while number == 0 or time.monotonic() < end:
        number += 1
        print(f"study {number}")
        survive(plan, program, undisturbed, tmp_path / str(number), dice, end)
        shutil.rmtree(tmp_path / str(number), ignore_errors=True)


def survive(
    plan: Plan, program: Program, undisturbed: Undisturbed, folder: Path, dice: random.Random, end: float
) -> None:
    """One study from its beginning to its end, with faults until then or until the time is over."""
    (facts,) = undisturbed.cache.glob("world-*/facts.json")
    judge = JudgeOutOfOrder(FactJudge.load(facts), JUDGE_TIMEOUT_S)
    with ExitStack() as stack:
        endpoint = stack.enter_context(judge.server.running())
        try:
            disk = stack.enter_context(small_disk(folder / "disk", plan.disk))
        except CannotMountError as refused:
            print(f"left out: disk full ({refused})")
            disk = None
        runs = (disk or folder) / "runs"
        where, why = stack.enter_context(database(runs))
        print(f"registry: {where.url}{f' ({why})' if why else ''}")
        wanted = words(plan, runs=runs, cache=undisturbed.cache, url=where.url, workers=plan.workers, endpoint=endpoint)
        commands = Commands(program, [wanted, wanted], folder / "logs")
        injector = Injector(
            dice=dice, runs=runs, database=where, commands=commands, judge=judge, disk=disk, lease_timeout_s=LEASE_S
        )
        try:
            for kind in chosen(plan, injector, end):
                injector.make(kind, times=1 if plan.minutes else 3)
            if not plan.minutes:
                injector.let_play()
            judge.heal()
            finish(plan, commands, injector, undisturbed.stages)
            told = [command.said() for command in commands.all]
        except BaseException:
            for command in commands.all:
                print(f"--- {command.name}, which ended with {command.codes}\n{command.said()[-6000:]}")
            raise
        assert not any("Traceback (most recent call last)" in text for text in told)
        assert {code for command in commands.all for code in command.codes} <= {-9, 0, 1, 2}
        assert done_more_than_once(runs, where.url, undisturbed.stages) == []
        assert results(runs, where.url) == undisturbed.results
        if not plan.minutes:
            lacking = [kind for kind in injector.kinds() if not injector.made[kind]]
            assert not lacking
            assert judge.played.keys() == set(TRICKS)


def chosen(plan: Plan, injector: Injector, end: float) -> Iterator[str]:
    """Kinds of faults: each once in an order of the dice's, or on and on until the time is over."""
    kinds = sorted(injector.kinds())
    tricks = [] if plan.minutes else [kind for kind in kinds if kind.startswith("judge")]
    yield from tricks
    while True:
        order = [kind for kind in kinds if kind not in tricks]
        injector.dice.shuffle(order)
        for kind in order:
            if plan.minutes and time.monotonic() > end:
                return
            yield kind
            time.sleep(injector.dice.uniform(0, 1 if not plan.minutes else 15))
        if not plan.minutes:
            return


def finish(plan: Plan, commands: Commands, injector: Injector, stages: int) -> None:
    """Run the command, and remove what is said to be removed, until all is done."""
    deadline = time.monotonic() + plan.seconds
    for _ in range(ROUNDS):
        commands.wait(deadline - time.monotonic())
        for command in commands.all:
            injector.tell(f"{command.name} has ended with {', '.join(map(str, command.codes))}")
        if injector.clear_up() and len(list(injector.runs.rglob("record.json"))) == stages:
            return
        commands.tend()
    raise AssertionError(f"not done after {ROUNDS} rounds")
