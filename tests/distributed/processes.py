"""The one way in which tests run several gloo processes: a function of this repository's tests, under torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

RUNNER = """
import importlib, json, sys
from pathlib import Path

from plw.runtime.memory import collect_rarely

collect_rarely()
import torch

from plw.launch.group import process_group

torch.set_num_threads(1)
module, function, arguments, out = sys.argv[1:]
with process_group(torch.device("cpu")) as group:
    result = getattr(importlib.import_module(module), function)(group, **json.loads(arguments))
    Path(out, f"{group.rank}.json").write_text(json.dumps(result))
"""


def run_processes(module: str, function: str, out: Path, *, processes: int = 2, **arguments: Any) -> list[Any]:
    """Call ``module.function(group, **arguments)`` in each process; what each returned (plain types), by rank."""
    out.mkdir(parents=True, exist_ok=True)
    script = out / "runner.py"
    script.write_text(RUNNER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [str(script), module, function, json.dumps(arguments), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(processes)]
