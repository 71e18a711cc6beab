"""Hydra launchers: they get a sweep's whole list of jobs, so a grid is checked in full before it costs anything.

Hydra accepts plugins from the namespace package ``hydra_plugins`` only; the work itself is in ``plw.sweep``.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from omegaconf import DictConfig, OmegaConf

from plw.config import CellConfig
from plw.config.composer import Composer
from plw.config.overrides import with_group
from plw.config.study_tables import check_hydra_tables
from plw.errors import UserError
from plw.runtime.console import console, step_bar
from plw.sweep.plan import print_plan
from plw.sweep.slurm.submit import SlurmOptions, submit_grid
from plw.sweep.summary import run_and_summarise


class GridSweeper(BasicSweeper):
    """Hydra's own sweeper for a union of grids, less its check of every job: the launchers here do that anyway.

    Args:
        max_batch_size: Jobs handed to the launcher at a time; null: all.
        params: Axis -> choices, shared by all grids.
        grids: Axes of each grid beside the shared ones; none: the shared axes alone are the grid. What stands on the
            command line holds in every grid.

    Raises:
        UserError: a size of batches that is none.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, str] | None = None,
        grids: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        if max_batch_size is not None and (type(max_batch_size) is not int or max_batch_size < 1):
            raise UserError(
                f"hydra.sweeper.max_batch_size={max_batch_size} is not allowed; give a whole number from 1 on, or null"
            )
        super().__init__(max_batch_size, params)
        self.grids = list(grids or [])
        self._given: set[str] = set()

    def _parse_config(self) -> list[str]:
        """The shared axes as overrides; an axis may be a group inside a group."""
        return [with_group(axis) for axis in super()._parse_config()]

    def split_arguments(  # type: ignore[override]
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Batches of jobs: the product of the axes, in each grid, one grid after the other."""
        _refuse_empty(overrides)
        if not self.grids:
            return BasicSweeper.split_arguments(overrides, max_batch_size)
        parser, jobs = OverridesParser.create(), []
        for grid in self.grids:
            own = parser.parse_overrides([with_group(f"{axis}={choices}") for axis, choices in grid.items()])
            own = [axis for axis in own if axis.get_key_element() not in self._given]
            _refuse_empty(own)
            (product,) = BasicSweeper.split_arguments([*overrides, *own], None)
            jobs += product
        return [list(batch) for batch in self.split_overrides_to_chunks(jobs, max_batch_size)]

    def sweep(self, arguments: list[str]) -> Any:
        """Split the axes into jobs and hand them to the launcher.

        As Hydra's own, but nothing is written: a plan changes nothing, and a study that is done can be asked for where
        nothing can be written.
        """
        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        self._given = {override.get_key_element() for override in parser.parse_overrides(arguments)}
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        self.overrides = self.split_arguments(overrides, self.max_batch_size)
        returns: list[Sequence[JobReturn]] = []
        while not self.is_done():
            batch = self.get_job_batch()
            self.validate_batch_is_legal(batch)
            results = self.launcher.launch(batch, initial_job_idx=sum(map(len, returns)))
            for result in results:
                # Reading it raises what made the job fail.
                _ = result.return_value
            returns.append(results)
        return returns

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave the check to a launcher of ours; do it for any other."""
        if not isinstance(self.launcher, GridLauncher):
            super().validate_batch_is_legal(batch)


def _refuse_empty(axes: Sequence[Override]) -> None:
    """Raises UserError where an axis has no value, so that the grid would have no cell."""
    for axis in axes:
        if axis.is_sweep_override() and next(axis.sweep_string_iterator(), None) is None:
            raise UserError(
                f"{axis.input_line}: the axis has no values: the range is empty, or no choice of the group fits"
            )


class GridLauncher(Launcher):
    """Composes every job's config; what is then done with the grid is the subclass's."""

    def setup(
        self,
        *,
        hydra_context: HydraContext,
        task_function: TaskFunction,  # noqa: ARG002 - Hydra's interface; the grid is run as a whole
        config: DictConfig,
    ) -> None:
        """Keep what Hydra hands over."""
        self._context = hydra_context
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:  # noqa: ARG002
        """Compose, check, and hand over the grid.

        Raises:
            UserError: a mistake in any cell's config.
            SystemExit: with 1, a stage failed.
        """
        composer = Composer(self._context.config_loader, self._config)
        with step_bar("configs", console()) as progress:
            configs = composer.compose(job_overrides, progress)
        check_hydra_tables(configs, self._config.hydra)
        self.work(configs)
        return [JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED) for overrides in job_overrides]

    @abstractmethod
    def work(self, configs: list[CellConfig]) -> None:
        """Do what this launcher is for."""


class LocalLauncher(GridLauncher):
    """Runs the grid in worker processes on this machine; has no options."""

    def __init__(self) -> None:
        super().__init__()

    def work(self, configs: list[CellConfig]) -> None:
        """Run, print the summary, leave with 1 where a stage failed."""
        run_and_summarise(configs)


class SlurmLauncher(GridLauncher):
    """Submits the grid as an array of Slurm jobs, a cell each.

    Args:
        sbatch: Fields of sbatch, by submitit's names or sbatch's own.
        wait: Stay until the jobs are done.
        poll_s: Seconds between two looks at the queue.
        requeues: Times that a job whose time is up puts itself back into the queue.

    Raises:
        UserError: a value that is not of its kind or range.
    """

    def __init__(
        self, sbatch: dict[str, Any] | None = None, wait: bool = True, poll_s: float = 15.0, requeues: int = 20
    ) -> None:
        if not isinstance(sbatch, Mapping | None):
            raise UserError(
                f"hydra.launcher.sbatch={sbatch} is no mapping; give one of its fields: "
                "+hydra.launcher.sbatch.FIELD=VALUE"
            )
        plain = OmegaConf.to_container(sbatch, resolve=True) if isinstance(sbatch, DictConfig) else dict(sbatch or {})
        self._options = SlurmOptions(sbatch=plain, wait=wait, poll_s=poll_s, requeues=requeues)

    def work(self, configs: list[CellConfig]) -> None:
        """Submit, and wait if asked to."""
        submit_grid(configs, self._options, console())


class PlanLauncher(GridLauncher):
    """Says what would run, be skipped or waited for, and why; changes nothing.

    Args:
        asked: The options of the launcher that would run the grid; they are checked by making that one.
    """

    def __init__(self, **asked: Any) -> None:
        self._asked = asked

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over; make the launcher that was asked for, as a run would."""
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        words = [word for word in config.hydra.overrides.hydra if word != PLAN_ONLY]
        loader = hydra_context.config_loader
        asked = loader.load_configuration(config.hydra.job.config_name, words, RunMode.MULTIRUN)
        Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=asked)

    def work(self, configs: list[CellConfig]) -> None:
        """Print the plan."""
        print_plan(configs, console())


PLAN_ONLY = f"hydra.launcher._target_={PlanLauncher.__module__}.{PlanLauncher.__qualname__}"
"""Override that plans in place of whatever launcher is asked for; its group and options stay as they are given."""
