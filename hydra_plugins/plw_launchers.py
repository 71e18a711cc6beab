"""Hydra launchers: they get a sweep's whole list of jobs, so a grid is checked in full before it costs anything.

Hydra accepts plugins from the namespace package ``hydra_plugins`` only; the work itself is in ``plw.sweep``.
"""

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from plw.config import CellConfig
from plw.config.compose import typed
from plw.console import console
from plw.sweep.plan import print_plan
from plw.sweep.summary import run_and_summarise


class Composer:
    """Composes jobs that differ in a few values: groups are composed once, values are then set as Hydra sets them."""

    def __init__(self, loader: ConfigLoader, config: DictConfig) -> None:
        self._loader = loader
        self._config = config
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of one job."""
        values = [item for item in OverridesParser.create().parse_overrides(list(overrides)) if self._is_value(item)]
        lines = {item.input_line for item in values}
        others = tuple(line for line in overrides if line not in lines)
        if others not in self._composed:
            self._composed[others] = self._loader.load_sweep_config(self._config, list(others))
        config = copy.deepcopy(self._composed[others])
        for item in values:
            OmegaConf.update(config, item.key_or_group, item.value(), merge=True)
        return config

    def _is_value(self, override: Override) -> bool:
        """``field=value`` and nothing else: no group, no added or deleted key, nothing of Hydra's own."""
        name = override.key_or_group
        plain = override.type == OverrideType.CHANGE and "." in name and not name.startswith("hydra.")
        return plain and not self._loader.get_group_options(name)


class GridSweeper(BasicSweeper):
    """Hydra's own sweeper for a union of grids, less its check of every job: the launchers here do that anyway.

    Args:
        max_batch_size: Jobs handed to the launcher at a time; null: all.
        params: Axis -> choices, shared by all grids.
        grids: Axes of each grid beside the shared ones; none: the shared axes alone are the grid. What stands on the
            command line holds in every grid.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: dict[str, str] | None = None,
        grids: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.grids = list(grids or [])
        self._given: set[str] = set()

    def split_arguments(  # type: ignore[override]
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """Batches of jobs: the product of the axes, in each grid, one grid after the other."""
        if not self.grids:
            return BasicSweeper.split_arguments(overrides, max_batch_size)
        parser, jobs = OverridesParser.create(), []
        for grid in self.grids:
            own = parser.parse_overrides([f"{axis}={choices}" for axis, choices in grid.items()])
            own = [axis for axis in own if axis.get_key_element() not in self._given]
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
        self.work([typed(composer.compose(overrides)) for overrides in job_overrides])
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
        print_plan(configs, console())
