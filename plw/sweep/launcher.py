"""Hydra launchers of ours: they get a sweep's whole list of jobs, so a grid is checked in full before it costs anything."""

import sys
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from rich.console import Console

from plw.compose import typed
from plw.config import CellConfig


class GridLauncher(Launcher):
    """Composes every job's config; what is then done with the grid is the subclass's."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self._context = hydra_context
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:  # noqa: ARG002
        """Compose, check, and hand over the grid.

        Raises:
            UserError: a mistake in any cell's config.
            SystemExit: with 1, a stage failed.
        """
        loader = self._context.config_loader
        configs = [typed(loader.load_sweep_config(self._config, list(overrides))) for overrides in job_overrides]
        self.work(configs)
        return [JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED) for overrides in job_overrides]

    def work(self, configs: list[CellConfig]) -> None:
        """Do what this launcher is for."""
        raise NotImplementedError


class LocalLauncher(GridLauncher):
    """Runs the grid in worker processes on this machine."""

    def work(self, configs: list[CellConfig]) -> None:
        """Run, print the summary, leave with 1 where a stage failed."""
        from plw.sweep.grid import run_grid
        from plw.sweep.summary import print_summary

        console = Console(soft_wrap=True)
        result = run_grid(configs, console)
        print_summary(result, configs[0].runs_name, console)
        if result.failed:
            sys.exit(1)


class PlanLauncher(GridLauncher):
    """Says what would run, be skipped or waited for, and why; changes nothing."""

    def work(self, configs: list[CellConfig]) -> None:
        """Print the plan."""
        from plw.sweep.plan import print_plan

        print_plan(configs, Console(soft_wrap=True))
