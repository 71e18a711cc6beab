"""Other trainers in two processes have the gradient that our engine has in one."""

from pathlib import Path

import pytest

from tests.distributed.processes import run_processes
from tests.distributed.trainer_work import FIELDS, engine_gradient


@pytest.mark.slow
def test_two_processes_of_a_trainer_have_our_gradient(tiny_llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    done = run_processes(
        "tests.distributed.trainer_work",
        "trainer_gradients",
        tmp_path / "out",
        model=str(tiny_llama),
        folder=str(tmp_path),
    )
    assert done[0] == done[1] == [f"{kind}-{name}" for name in FIELDS for kind in ("trainer", "sft")]
    for name in FIELDS:
        expected = engine_gradient(str(tiny_llama), name)
        for kind in ("trainer", "sft"):
            found = load_file(tmp_path / f"{kind}-{name}.safetensors")["gradient"]
            assert float((found - expected).norm() / expected.norm()) < 1e-5
