"""What the config says of a suite by its name, for commands that read what a registry holds."""

from pathlib import Path
from typing import TYPE_CHECKING

from plw.commands.choice import chosen_cell
from plw.errors import UserError

if TYPE_CHECKING:
    from analysis.scores.benchmarks import Benchmarks, Configured
    from plw.config import CellConfig
    from plw.config.evaluation import SuiteConfig


def configured_suites(config: "CellConfig", overrides: list[str] | None, config_dir: Path | None) -> "Configured":
    """Name of a suite -> its benchmarks as the config has them: the chosen suite, or another one of the group."""

    def find(name: str) -> "Benchmarks | None":
        if name == config.suite.name:
            return _benchmarks(config.suite)
        words = [word for word in overrides or [] if not word.lstrip("+~").startswith("suite")]
        try:
            other = chosen_cell([*words, f"suite={name}"], config_dir).suite
        except UserError:
            return None
        return _benchmarks(other) if other.name == name else None

    return find


def _benchmarks(suite: "SuiteConfig") -> "Benchmarks":
    from analysis.scores.benchmarks import Benchmarks
    from plw.config.benchmarks import benchmark_groups, benchmark_info

    return Benchmarks(groups=benchmark_groups(suite), info=benchmark_info(suite))
