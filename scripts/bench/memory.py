"""Peak memory of one loss step, forward and backward, measured from outside in a process of its own."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

WAYS = ("fused", "full")
"""``fused``: this project's loss. ``full``: all logits at once, then torch's cross-entropy, weighted."""


@dataclass(frozen=True, kw_only=True)
class LossStep:
    """The size of the step."""

    tokens: int
    hidden: int
    vocabulary: int
    threads: int


def measure(step: LossStep, way: str) -> dict[str, float]:
    """MiB above what stood before the step (inputs and libraries), and its seconds, in a fresh process."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), way, json.dumps(asdict(step))],
        cwd=root,
        env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": str(step.threads), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{way}: {done.stderr.strip().splitlines()[-1:] or done.returncode}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def compare(step: LossStep) -> dict[str, Any]:
    """Both ways and the ratio of their peaks."""
    results = {way: measure(step, way) for way in WAYS}
    return {
        **asdict(step),
        **results,
        "peak_ratio": round(results["fused"]["peak_mib"] / results["full"]["peak_mib"], 4),
        "logits_mib": step.tokens * step.vocabulary * 4 / 2**20,
    }


def _child(way: str, step: LossStep) -> dict[str, float]:
    import resource
    import time

    import torch
    from torch.nn import functional as F

    from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy

    torch.manual_seed(0)
    torch.set_num_threads(step.threads)
    hidden_TD = torch.randn(step.tokens, step.hidden, requires_grad=True)
    # In place: a copy that is gone again would have raised the peak before the step, and hidden as much of the step's.
    weight_VD = torch.randn(step.vocabulary, step.hidden).mul_(0.02).requires_grad_()
    target_T = torch.randint(step.vocabulary, (step.tokens,))
    coefficient_T = torch.rand(step.tokens).div_(step.tokens)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if way == "fused":
        loss = weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T).loss
    else:
        cross_entropy_T = F.cross_entropy(F.linear(hidden_TD, weight_VD), target_T, reduction="none")
        loss = (coefficient_T * cross_entropy_T).sum()
    loss.backward()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"peak_mib": round(peak / 1024, 1), "seconds": round(seconds, 2), "loss": loss.item()}


if __name__ == "__main__":
    print(json.dumps(_child(sys.argv[1], LossStep(**json.loads(sys.argv[2])))))
