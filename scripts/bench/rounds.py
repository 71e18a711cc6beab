"""Rounds: the contenders take turns, so that whatever else the machine does in those minutes falls on all of them."""

import os
import platform
import statistics
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.contenders import Contender, Spent, emptied
from bench.setting import Case, Machine, Setting

LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "trl")


def compare(setting: Setting, contenders: list[Contender], folder: Path, *, rounds: int) -> dict[str, Any]:
    """Train every case with every contender ``rounds`` times, in turn; seconds, medians and ratios to the first."""
    spent: dict[tuple[str, str], list[Spent]] = {}
    loads = []
    for number in range(1, rounds + 1):
        loads.append(round(os.getloadavg()[0], 2))
        for case in setting.cases:
            for contender in contenders:
                took = contender.run(setting, case, emptied(folder / "run"))
                spent.setdefault((case.name, contender.name), []).append(took)
                what = f"round {number}  {case.name:9} {contender.name:8}"
                print(f"{what} {took.seconds:7.2f} s {took.cpu_seconds:7.2f} CPU s", file=sys.stderr, flush=True)
    return {
        "cases": [_case(case, contenders, spent) for case in setting.cases],
        "contenders": {contender.name: contender.what for contender in contenders},
        "rounds": rounds,
        "load_average": loads,
        **environment(setting.machine),
    }


def _case(case: Case, contenders: list[Contender], spent: dict[tuple[str, str], list[Spent]]) -> dict[str, Any]:
    ours = spent[case.name, contenders[0].name]
    return {
        "case": case.name,
        "prompt_weight": case.prompt_weight,
        "peers_prompt_weight": 0 if case.peer_masks_prompt else 1,
        "examples": len(case.examples),
        "tokens": case.tokens,
        "results": {
            contender.name: _result(case.tokens, spent[case.name, contender.name], ours) for contender in contenders
        },
    }


def _result(tokens: int, spent: list[Spent], ours: list[Spent]) -> dict[str, Any]:
    """Ratios are medians over the rounds of the ratio within a round, where both ran under the same conditions."""
    pairs = list(zip(spent, ours, strict=True))
    median = statistics.median(one.seconds for one in spent)
    return {
        "seconds": [round(one.seconds, 3) for one in spent],
        "cpu_seconds": [round(one.cpu_seconds, 3) for one in spent],
        "median_seconds": round(median, 3),
        "median_cpu_seconds": round(statistics.median(one.cpu_seconds for one in spent), 3),
        "tokens_per_second": round(tokens / median),
        "mfu": [one.mfu for one in spent] if spent[0].mfu is not None else None,
        "times_ours": round(statistics.median(one.seconds / our.seconds for one, our in pairs), 3),
        "times_our_cpu": round(statistics.median(one.cpu_seconds / our.cpu_seconds for one, our in pairs), 3),
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
