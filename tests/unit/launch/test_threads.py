"""Threads of the command leave their cores to other work while they wait, as OpenMP itself tells."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plw.launch.threads import SPIN_COUNT

START = """
import ctypes, sys
from plw.__main__ import start
sys.argv[1:], library = ["--version"], sys.argv[1]
try:
    start()
except SystemExit:
    assert "torch" not in sys.modules, "OpenMP reads its settings once, when torch is imported"
ctypes.CDLL(library)
"""
BRIEFLY = """
import ctypes, sys
from plw.launch.threads import spin_briefly
spin_briefly()
ctypes.CDLL(sys.argv[1])
"""


@pytest.mark.parametrize(
    ("code", "chosen", "spins"),
    [
        (START, {}, SPIN_COUNT),
        (BRIEFLY, {"GOMP_SPINCOUNT": "70"}, "70"),
        (BRIEFLY, {"OMP_WAIT_POLICY": "PASSIVE"}, "0"),
    ],
    ids=["the command", "a count of the user's", "a policy of the user's"],
)
def test_openmp_spins_briefly_unless_the_user_chose(code: str, chosen: dict[str, str], spins: str) -> None:
    torch = importlib.util.find_spec("torch")
    assert torch is not None
    library = Path(str(torch.origin)).parent / "lib/libgomp.so.1"
    if not library.exists():
        pytest.skip("torch comes without GNU's OpenMP here")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    told = subprocess.run(
        [sys.executable, "-c", code, str(library)],
        env={**environment, **chosen, "OMP_DISPLAY_ENV": "verbose"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{spins}'" in told.stderr
