"""What this machine is and has for work: GPUs, processor cores and memory, found without importing torch."""

import hashlib
import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

import psutil

from plw.errors import UserError

DEVICES = "CUDA_VISIBLE_DEVICES"
MIG = "MIG-"
_DEVICE = re.compile(r"\d+|GPU-.+|MIG-.+")


def visible_gpus() -> list[str]:
    """Ids of the GPUs this process may use, as CUDA_VISIBLE_DEVICES has them: numbers, or UUIDs of GPUs or MIG slices.

    CUDA reads that variable up to the first entry that is no device, such as -1.
    """
    asked = os.environ.get(DEVICES)
    if asked is not None:
        return list(takewhile(_DEVICE.fullmatch, (name.strip() for name in asked.split(","))))
    return [str(index) for index, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def device_shares(gpus: Sequence[str], each: int) -> list[list[str]]:
    """The GPUs in shares of ``each``, as many as can be filled; those that fill none are left over."""
    return [list(gpus[first : first + each]) for first in range(0, len(gpus) - each + 1, each)]


def check_gpu_count(processes: int, gpus: int) -> None:
    """Each process of a cell has a GPU of its own.

    Raises:
        UserError: there are fewer.
    """
    if processes > gpus:
        allowed = f"up to {gpus}, or execution.device=cpu" if gpus else "execution.device=cpu"
        raise UserError(f"execution.processes={processes} needs a GPU each, and {gpus} can be seen; allowed: {allowed}")


def available_cores() -> int:
    """Cores that this process may use, where the system tells; all of the machine's otherwise."""
    process = psutil.Process()
    return len(process.cpu_affinity() or ()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1


def free_memory() -> int:
    """Bytes that this process and its children may take: what the machine has left, and no more than a container's."""
    free: int = psutil.virtual_memory().available
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            # Version 2 of control groups writes "max" where there is none.
            free = min(free, int(Path(limit).read_text(encoding="ascii")))
    return free


def process_space() -> str:
    """Where a process number means one process: ``host/1a2b3c4d``, the host's name and a digest of what tells apart.

    Names do not: containers on the network of their host bear its name and number their processes anew, and machines
    made from one image may be namesakes. Linux knows each boot of a kernel and each PID namespace; elsewhere the name
    is all there is.
    """
    name = socket.gethostname()
    try:
        boot, namespace = Path("/proc/sys/kernel/random/boot_id").read_text(), Path("/proc/self/ns/pid").readlink()
    except OSError:
        return name
    return f"{name}/{hashlib.sha256(f'{boot} {namespace}'.encode()).hexdigest()[:8]}"


def host_name(space: str) -> str:
    """The host of a process space, as people call it."""
    return space.partition("/")[0]
