"""A node used whole: as many cells at once as its GPUs serve, each with its own, before torch could look at them."""

import gc
import multiprocessing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plw.commands.choice import chosen_cell
from plw.config import CellConfig
from plw.config.study import ExecutionConfig
from plw.errors import UserError
from plw.runtime.machine import available_cores, check_gpu_count, device_shares, free_memory, visible_gpus
from plw.runtime.memory import FULL_COLLECTIONS
from plw.sweep.workers import cell_threads, check_devices, gpu_shares, worker_count, worker_pool
from tests.unit.sweep.worker_probe import bar_semaphores, look


@pytest.fixture(scope="module")
def composed() -> CellConfig:
    return chosen_cell(["study=plw", "scale=mini"])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("0,1,2", ["0", "1", "2"]),
        ("3", ["3"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("NoDevFiles", []),
        (" 1 , 0 ", ["1", "0"]),
        ("GPU-8932f937-d72c,GPU-5a1b", ["GPU-8932f937-d72c", "GPU-5a1b"]),
        ("MIG-c7384736-a75d,MIG-GPU-e8c7/3/0", ["MIG-c7384736-a75d", "MIG-GPU-e8c7/3/0"]),
    ],
)
def test_the_outer_variable_is_read_as_cuda_reads_it(
    asked: str, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert visible_gpus() == found


@given(gpus=st.integers(0, 16), each=st.integers(1, 9))
def test_shares_are_full_and_disjoint(gpus: int, each: int) -> None:
    names = [f"GPU-{number}" for number in range(gpus)]
    shares = device_shares(names, each)
    assert [len(share) for share in shares] == [each] * (gpus // each)
    assert [name for share in shares for name in share] == names[: gpus // each * each]


@pytest.mark.parametrize(
    ("gpus", "fields", "workers"),
    [
        ("4,5,6,7", {}, 4),
        ("4,5,6,7", {"processes": 2}, 2),
        ("4,5,6,7,8", {"processes": 2}, 2),
        ("4,5", {"workers": 6}, 6),
        ("MIG-a,MIG-b,MIG-c", {}, 3),
    ],
)
def test_cells_at_once(
    gpus: str, fields: dict[str, int], workers: int, composed: CellConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    config = replace(composed, execution=replace(composed.execution, **fields))
    assert worker_count(config) == workers
    processes = config.execution.processes
    assert cell_threads(config, workers) == max(1, available_cores() // (workers * processes)), "threads follow"
    on_cpu = replace(config, execution=replace(config.execution, device="cpu", workers=None))
    assert worker_count(on_cpu) == max(1, min(8, available_cores() // processes))
    assert gpu_shares(on_cpu.execution) == []


@pytest.mark.parametrize(("gib", "workers"), [(None, 6), (7.0, 2), (3.0, 6), (40.0, 1)])
def test_no_more_cells_at_once_than_fit_into_memory(
    gib: float | None, workers: int, composed: CellConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plw.sweep.workers.available_cores", lambda: 6)
    monkeypatch.setattr("plw.sweep.workers.free_memory", lambda: 20 * 2**30)
    execution = replace(composed.execution, device="cpu", workers=None, cell_memory_gib=gib)
    assert worker_count(replace(composed, execution=execution)) == workers
    told = replace(execution, workers=5)
    assert worker_count(replace(composed, execution=told)) == 5


def test_free_memory_is_no_more_than_the_machine_has() -> None:
    assert 0 < free_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("gpus", "processes", "says"),
    [
        ("0,1", 4, r"execution\.processes=4 needs a GPU each, and 2 can be seen; allowed: up to 2"),
        ("MIG-a,MIG-b", 2, r"MIG slices \(CUDA_VISIBLE_DEVICES\) cannot work together"),
    ],
)
def test_too_few_gpus_are_told(gpus: str, processes: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    with pytest.raises(UserError, match=says):
        check_devices(ExecutionConfig(processes=processes))
    check_devices(ExecutionConfig(processes=processes, device="cpu"))
    check_devices(ExecutionConfig(processes=1))


def test_where_no_gpu_is_seen_the_cpu_is_named() -> None:
    with pytest.raises(UserError, match=r"2 needs a GPU each, and 0 can be seen; allowed: execution\.device=cpu"):
        check_gpu_count(2, 0)


def test_each_worker_has_its_own_devices_before_torch_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c,GPU-d,GPU-e")
    events = multiprocessing.get_context("spawn").Queue()
    with worker_pool(ExecutionConfig(processes=2, threads=3), 2, events, [0] * 4) as pool:
        found = [future.result() for future in [pool.submit(look, str(tmp_path), 2) for _ in range(2)]]
        assert pool.submit(gc.get_threshold).result()[2] == FULL_COLLECTIONS
    assert sorted(devices or "" for devices, _, _ in found) == ["GPU-a,GPU-b", "GPU-c,GPU-d"]
    assert {threads for _, threads, _ in found} == {"3"}
    assert not any(has_torch for _, _, has_torch in found)


def test_a_bar_in_a_worker_makes_nothing_that_outlives_a_killed_one() -> None:
    """Python warns of a semaphore that a killed process leaves, below the one line of a stopped sweep."""
    events = multiprocessing.get_context("spawn").Queue()
    with worker_pool(ExecutionConfig(threads=1), 1, events, [0] * 2) as pool:
        assert pool.submit(bar_semaphores).result() == 0
