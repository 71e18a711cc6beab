"""Hydra launchers: they get a sweep's whole list of jobs, so a grid is checked in full before it costs anything.

Hydra accepts plugins from the namespace package ``hydra_plugins`` only; the work itself is in ``plw.sweep``.
"""

from abc import abstractmethod
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from rich.console import Console

from plw.compose import typed
from plw.config import CellConfig
from plw.sweep.plan import print_plan
from plw.sweep.summary import run_and_summarise


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

    @abstractmethod
    def work(self, configs: list[CellConfig]) -> None:
        """Do what this launcher is for."""


class LocalLauncher(GridLauncher):
    """Runs the grid in worker processes on this machine."""

    def work(self, configs: list[CellConfig]) -> None:
        """Run, print the summary, leave with 1 where a stage failed."""
        run_and_summarise(configs)


class PlanLauncher(GridLauncher):
    """Says what would run, be skipped or waited for, and why; changes nothing."""

    def work(self, configs: list[CellConfig]) -> None:
        """Print the plan."""
        print_plan(configs, Console(soft_wrap=True))
