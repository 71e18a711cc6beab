"""The head's step, forward and backward: time, peak memory and error of each way to compute it.

Each way runs in a process of its own. All take the plain mean over the tokens, because that is what all of them know;
coefficients change nothing of the work.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

MISSING = 3
"""Exit status of a way that cannot run here."""


@dataclass(frozen=True, kw_only=True)
class HeadStep:
    """The size of the step, and where it is computed."""

    tokens: int
    hidden: int
    vocabulary: int
    device: str
    dtype: str
    threads: int
    repeats: int
    """Times that the step is timed, after one that warms up and whose memory is measured."""
    checked: int
    """Tokens of the step whose gradients are compared with the formula in float64."""


def compare(step: HeadStep, ways: list[str]) -> dict[str, Any]:
    """Every way, and its ratios to the first of them, as far as it can run."""
    results = {way: measure(step, way) for way in ways}
    first = results[ways[0]]
    for result in results.values():
        if "missing" not in result and "missing" not in first:
            result["times_first"] = round(result["seconds"] / first["seconds"], 3)
            result["memory_times_first"] = round(result["peak_mib"] / first["peak_mib"], 3)
    return {**asdict(step), "logits_mib": step.tokens * step.vocabulary * 4 / 2**20, "ways": results}


def measure(step: HeadStep, way: str) -> dict[str, Any]:
    """Seconds, MiB above what stood before the step (inputs and libraries) and errors; or what is missing."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), way, json.dumps(asdict(step))],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")])),
            "OMP_NUM_THREADS": str(step.threads),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    if done.returncode == MISSING:
        return {"missing": last}
    if done.returncode:
        raise RuntimeError(f"{way}: {last}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def fused(device: str) -> "Loss":  # noqa: ARG001 - the same everywhere
    """The loss of this project."""
    import torch

    from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy

    def loss(hidden_TD: "Tensor", weight_VD: "Tensor", target_T: "Tensor") -> "Tensor":
        coefficient_T = torch.full(target_T.shape, 1 / len(target_T), device=target_T.device)
        return weighted_linear_cross_entropy(hidden_TD, weight_VD, target_T, coefficient_T).loss

    return loss


def full(device: str) -> "Loss":  # noqa: ARG001
    """All logits at once, and torch's cross-entropy in fp32, as transformers computes it."""
    from torch.nn import functional as F

    return lambda hidden_TD, weight_VD, target_T: F.cross_entropy(F.linear(hidden_TD, weight_VD).float(), target_T)


def chunked(device: str) -> "Loss":  # noqa: ARG001
    """The linear cross-entropy that comes with torch, in chunks."""
    import torch
    from torch.nn import functional as F

    options = torch.nn.LinearCrossEntropyOptions()
    return lambda hidden_TD, weight_VD, target_T: F.linear_cross_entropy(
        hidden_TD, weight_VD, target_T, options=options
    )


def cut(device: str) -> "Loss":
    """Apple's cut-cross-entropy; on a CPU its version for torch.compile."""
    from cut_cross_entropy import linear_cross_entropy

    how = "cce" if device == "cuda" else "torch_compile"
    return lambda hidden_TD, weight_VD, target_T: linear_cross_entropy(
        hidden_TD, weight_VD, target_T, impl=how, reduction="none"
    ).mean()


def liger(device: str) -> "Loss":
    """Liger's fused linear cross-entropy; on a CPU under Triton's interpreter alone."""
    if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ModuleNotFoundError("Liger's kernels need CUDA (or TRITON_INTERPRET=1, to see that they run)")
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    module = LigerFusedLinearCrossEntropyLoss()
    return lambda hidden_TD, weight_VD, target_T: module(weight_VD, hidden_TD, target_T)


WAYS: "dict[str, Callable[[str], Loss]]" = {"fused": fused, "full": full, "torch": chunked, "cce": cut, "liger": liger}


def _child(way: str, step: HeadStep) -> dict[str, float]:
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(step.threads)
    loss, dtype = WAYS[way](step.device), getattr(torch, step.dtype)
    hidden_TD = torch.randn(step.tokens, step.hidden, device=step.device, dtype=dtype, requires_grad=True)
    # In place: a copy that is gone again would have raised the peak before the step, and hidden as much of the step's.
    weight_VD = torch.randn(step.vocabulary, step.hidden, device=step.device, dtype=dtype).mul_(0.02).requires_grad_()
    target_T = torch.randint(step.vocabulary, (step.tokens,), device=step.device)

    def run() -> float:
        hidden_TD.grad = weight_VD.grad = None
        value = loss(hidden_TD, weight_VD, target_T)
        value.backward()
        return value.item()

    if step.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    before = _peak_mib(step.device)
    value = run()
    peak = _peak_mib(step.device) - before
    seconds = []
    for _ in range(step.repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    result = {
        "seconds": round(statistics.median(seconds), 4) if seconds else None,
        "peak_mib": round(peak, 1),
        "loss": value,
    }
    return {**result, **_errors(loss, hidden_TD, weight_VD, target_T, step.checked)}


def _peak_mib(device: str) -> float:
    """The most memory so far, in MiB."""
    import resource

    import torch

    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _errors(
    loss: "Loss", hidden_TD: "Tensor", weight_VD: "Tensor", target_T: "Tensor", checked: int
) -> dict[str, float | None]:
    """Relative distance of the gradients from those of the formula in float64."""
    import torch
    from torch.nn import functional as F

    if not checked:
        return {"hidden_error": None, "weight_error": None}
    # At this scale logits differ enough for the softmax to matter.
    leaves = [part.detach().mul(10).requires_grad_() for part in (hidden_TD[:checked], weight_VD)]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    found = torch.autograd.grad(loss(*leaves, target_T[:checked]), leaves)
    wanted = torch.autograd.grad(F.cross_entropy(F.linear(*exact), target_T[:checked]), exact)
    hidden, weight = (
        float((ours.double() - other).norm() / other.norm()) for ours, other in zip(found, wanted, strict=True)
    )
    return {"hidden_error": hidden, "weight_error": weight}


if __name__ == "__main__":
    try:
        print(json.dumps(_child(sys.argv[1], HeadStep(**json.loads(sys.argv[2])))))
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
