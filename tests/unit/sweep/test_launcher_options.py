"""Options of the launchers are checked when Hydra makes one, so before anything is read or submitted."""

from typing import Any

import pytest

from hydra_plugins.plw_launchers import SlurmLauncher
from plw.errors import UserError


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"poll_s": "soon"}, "hydra.launcher.poll_s='soon' is no number"),
        ({"poll_s": 0}, "hydra.launcher.poll_s=0 is not allowed; it must be above 0"),
        ({"requeues": -1}, "hydra.launcher.requeues=-1 is too small; allowed: 0 or more"),
        ({"requeues": 1.5}, "hydra.launcher.requeues=1.5 is no whole number"),
        ({"wait": "maybe"}, "hydra.launcher.wait=maybe is not known; allowed: true, false"),
        (
            {"sbatch": 5},
            "hydra.launcher.sbatch=5 is no mapping; give one of its fields: +hydra.launcher.sbatch.FIELD=VALUE",
        ),
        (
            {"sbatch": {"time": 2, "signal_delay_s": 120}},
            "hydra.launcher.sbatch.time=2 (minutes) is no longer than hydra.launcher.sbatch.signal_delay_s=120 "
            "(seconds), so each job would be told to stop as it begins, and queue again; "
            "give more time, or a shorter delay",
        ),
        ({"sbatch": {"folder": "x"}}, "hydra.launcher.sbatch.folder is set by the launcher; leave it out"),
    ],
)
def test_a_mistaken_option_of_slurms_is_one_line(options: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as told:
        SlurmLauncher(**options)
    assert str(told.value) == line


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sbatch": None},
        {"sbatch": {"time": 5, "folder": None}},
        {"sbatch": {"time": 0, "signal_delay_s": 120}},  # no limit
        {"sbatch": {"time": "1-00:00:00", "signal_delay_s": 120}},
        {"requeues": 0},
    ],
)
def test_right_options_are_taken(options: dict[str, Any]) -> None:
    SlurmLauncher(**options)
