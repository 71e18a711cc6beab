"""Simulated studies, written through the registry itself."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from simulated_study import simulate


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., tuple[str, Path]]:
    """Write a whole study; returns the registry's address and the runs folder."""
    return partial(simulate, tmp_path)
