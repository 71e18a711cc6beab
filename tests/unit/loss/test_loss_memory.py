"""Memory of the weighted loss: that of a chunk of logits, measured from outside; how many rows a chunk has."""

import subprocess
import sys

import torch

from plw.loss.linear_cross_entropy import chunk_rows

PEAK = """
import torch
from pathlib import Path
from torch.nn import functional as F
from plw.loss.linear_cross_entropy import weighted_linear_cross_entropy
torch.set_num_threads(1)
tokens, width, vocabulary = 4096, 16, 16384
hidden_TD = torch.randn(tokens, width, requires_grad=True)
weight_VD = torch.randn(vocabulary, width, requires_grad=True)
target_T, coefficient_T = torch.randint(vocabulary, (tokens,)), torch.rand(tokens)
def fused(rows):
    rows_of = hidden_TD[:rows], weight_VD, target_T[:rows], coefficient_T[:rows]
    return weighted_linear_cross_entropy(*rows_of, chunk=128).loss
def whole(rows):
    ce_T = F.cross_entropy(F.linear(hidden_TD[:rows], weight_VD), target_T[:rows], reduction="none")
    return (coefficient_T[:rows] * ce_T).sum()
def peak_mib():
    # Not ru_maxrss: a child begins with its parent's.
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
for loss in (fused, whole):
    loss(8).backward()
before = peak_mib()
# The larger one comes second, since a peak never falls.
for loss in (fused, whole):
    loss(tokens).backward()
    print(peak_mib() - before)
"""


def test_peak_memory_is_that_of_a_chunk() -> None:
    """Measured from outside: 256 MiB of logits, of which the plain formula holds several copies and ours a 32nd."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    fused, whole = map(float, done.stdout.split())
    assert whole > 256
    assert fused < 256 / 8


def test_chunks_hold_enough_rows_and_not_too_many() -> None:
    assert chunk_rows(32_000, "cpu", torch.float32) == 524
    assert chunk_rows(32_000, "cpu", torch.bfloat16) == 1048
    assert chunk_rows(128_256, "cpu", torch.float32) == 256
    assert chunk_rows(128_256, "cpu", torch.bfloat16) == 512
    assert chunk_rows(128_256, "cuda", torch.bfloat16) == 2048
