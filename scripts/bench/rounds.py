"""Rounds: the contenders take turns, so that whatever else the machine does in those minutes falls on all of them.

Each run has a process of its own, so that a peak of memory is its own: an allocator keeps what an earlier run freed.
"""

import contextlib
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.contenders import Contender, Spent
from bench.setting import Case, Machine, Setting
from bench.work import ProductSpeed, product_speed

LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "trl")

Run = tuple[ProductSpeed, Spent]


def compare(setting: Setting, contenders: list[Contender], *, rounds: int) -> dict[str, Any]:
    """Train every case with every contender ``rounds`` times, in turn; seconds, medians and ratios to the first."""
    runs: dict[tuple[str, str], list[Run]] = {}
    loads = []
    for number in range(1, rounds + 1):
        loads.append(round(os.getloadavg()[0], 2))
        for case in setting.cases:
            for contender in contenders:
                run = _apart(setting, case, contender)
                runs.setdefault((case.name, contender.name), []).append(run)
                print(f"round {number}  {case.name:14} {contender.name:8} {_words(run)}", file=sys.stderr, flush=True)
    return {
        "cases": [_case(case, contenders, runs) for case in setting.cases],
        "contenders": {contender.name: contender.what for contender in contenders},
        "rounds": rounds,
        "load_average": loads,
        **environment(setting.machine),
    }


def _apart(setting: Setting, case: Case, contender: Contender) -> Run:
    """One run in a fresh process."""
    from plw.launch.process_end import end_with_parent

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=end_with_parent, initargs=(os.getpid(),)) as pool:
        return pool.submit(_run, setting, case, contender).result()


def _run(setting: Setting, case: Case, contender: Contender) -> Run:
    import torch

    # The peers' own deprecation notices.
    warnings.simplefilter("ignore")
    torch.set_num_threads(setting.machine.threads)
    # The peers print their logs; standard output is for the result.
    with tempfile.TemporaryDirectory(prefix="plw-bench-") as folder, contextlib.redirect_stdout(sys.stderr):
        return product_speed(setting.machine), contender.run(setting, case, Path(folder))


def _words(run: Run) -> str:
    speed, spent = run
    return (
        f"{spent.seconds:7.2f} s {spent.cpu_seconds:7.2f} CPU s  {spent.computed_tokens} tokens  "
        f"{_share(run):.0%} of {speed.by_clock / 1e9:.0f} GFLOP/s ({_share_by_cpu(run):.0%} by CPU time)  "
        f"{spent.peak_mib:.0f} MiB"
    )


def _share(run: Run) -> float:
    """Of the products' peak that the run reached on what it computed."""
    speed, spent = run
    return spent.flops / spent.seconds / speed.by_clock


def _share_by_cpu(run: Run) -> float:
    """The same, of what its CPU time could have been."""
    speed, spent = run
    return spent.flops / spent.cpu_seconds / speed.by_cpu


def _case(case: Case, contenders: list[Contender], runs: dict[tuple[str, str], list[Run]]) -> dict[str, Any]:
    ours = runs[case.name, contenders[0].name]
    return {
        "case": case.name,
        "prompt_weight": case.prompt_weight,
        "peers_prompt_weight": 0 if case.peer_masks_prompt else 1,
        "examples": len(case.examples),
        "tokens": case.tokens,
        "results": {
            contender.name: _result(case.tokens, runs[case.name, contender.name], ours) for contender in contenders
        },
    }


def _result(tokens: int, runs: list[Run], ours: list[Run]) -> dict[str, Any]:
    """Ratios are medians over the rounds of the ratio within a round, where both ran under the same conditions."""
    spent = [one for _, one in runs]
    pairs = [(one, our) for one, (_, our) in zip(spent, ours, strict=True)]
    median = statistics.median(one.seconds for one in spent)
    return {
        "seconds": [round(one.seconds, 3) for one in spent],
        "cpu_seconds": [round(one.cpu_seconds, 3) for one in spent],
        "median_seconds": round(median, 3),
        "median_cpu_seconds": round(statistics.median(one.cpu_seconds for one in spent), 3),
        "tokens_per_second": round(tokens / median),
        "computed_tokens": spent[0].computed_tokens,
        "flops": spent[0].flops,
        "peak_gflops": [round(speed.by_clock / 1e9, 1) for speed, _ in runs],
        "share_of_peak": round(statistics.median(map(_share, runs)), 3),
        "share_of_peak_by_cpu": round(statistics.median(map(_share_by_cpu, runs)), 3),
        "peak_mib": round(statistics.median(one.peak_mib for one in spent)),
        "times_ours": round(statistics.median(one.seconds / our.seconds for one, our in pairs), 3),
        "times_our_cpu": round(statistics.median(one.cpu_seconds / our.cpu_seconds for one, our in pairs), 3),
        "our_share_of_its_memory": round(statistics.median(our.peak_mib / one.peak_mib for one, our in pairs), 3),
    }


def environment(machine: Machine) -> dict[str, Any]:
    """Versions and machine, as far as they bear on the numbers."""
    return {
        **asdict(machine),
        "gpu": _gpu() if machine.device == "cuda" else None,
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "cpu": _cpu(),
        "cores": os.cpu_count(),
    }


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
