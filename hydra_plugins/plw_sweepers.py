"""The Hydra sweeper ``adaptive``: not all of a study's prompt weights are trained; the scores so far choose them."""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn

from hydra_plugins.plw_launchers import GridSweeper, PlanLauncher
from plw.commands.measurable import check_measurable
from plw.commands.weight_search import SearchLine, TrialRequest, check_rule, conclusion, search
from plw.config import CellConfig
from plw.config.composer import Composer
from plw.errors import PermanentError, StageError, UserError
from plw.pipeline import Cell, resolve_cell
from plw.runtime.console import console

FAILED_LINE = "No weight is found here: a cell failed. The same command tries it again."
WEIGHT_AXIS, SEED_AXIS = "loss.prompt_weight", "seed"


class AdaptiveSweeper(GridSweeper):
    """Trains few of the weights on the axis ``loss.prompt_weight``, in each combination of the other axes.

    Args:
        max_batch_size: Of Hydra's sweepers; a round is one batch.
        params: Axis -> choices. The choices of ``loss.prompt_weight`` are the weights that may be tried.
        grids: Not allowed: the weights of several grids are on no one curve.
        budget: Trainings at most, for each combination.
        margin: Difference that does not matter, as a share of the full score.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        grids: Sequence[Any] | None = None,
        budget: int = 5,
        margin: float = 0.01,
    ) -> None:
        super().__init__(max_batch_size, params, grids)
        self.budget = budget
        self.margin = margin
        self.returns: list[Sequence[JobReturn]] = []
        self._words: dict[str, list[str]] = {}
        self._failure: StageError | None = None
        """What the first round with a failed cell ended with."""

    def sweep(self, arguments: list[str]) -> Any:
        """Search the best weight of every combination, all of them side by side, and say what was found.

        Raises:
            UserError: no axis of weights, several grids, scores that no weight can be chosen by, or a rule that makes
                no search.
            StageError: a cell failed, told when the other combinations have ended; or one is not finished after its
                launch.
        """
        from analysis.inference.adaptive import WeightChooser

        assert self.hydra_context is not None
        check_rule(self.budget, self.margin, "hydra.sweeper.budget=", "hydra.sweeper.margin=")
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        weights, self._words = self.split_lines(parser.parse_overrides([*self._parse_config(), *arguments]))
        lines = [SearchLine(name=name) for name in self._words]
        chooser, screen = WeightChooser(weights=weights, budget=self.budget, margin=self.margin), console()
        self._check_measurable(weights[0])
        try:
            search(lines, chooser, self._train, screen)
        except _PlannedError:
            screen.print(
                f"These are the first cells; their scores choose further ones, up to {self.budget} in each line"
            )
            return self.returns
        for line in lines:
            found = [FAILED_LINE] if line.has_failed else conclusion(line, chooser)
            screen.print("\n".join([*filter(None, [line.name]), *found]), markup=False)
        if self._failure is not None:
            raise self._failure
        return self.returns

    def split_lines(self, overrides: list[Override]) -> tuple[tuple[float, ...], dict[str, list[str]]]:
        """The weights that may be tried, and for each combination of the other axes a name and its overrides.

        Raises:
            UserError: fewer than two weights, or several grids.
        """
        if self.grids:
            raise UserError("hydra/sweeper=adaptive takes no study of several grids (hydra.sweeper.grids)")
        of_weight = [axis for axis in overrides if axis.get_key_element() == WEIGHT_AXIS]
        (choices,) = self.split_arguments(of_weight, None)
        try:
            weights = tuple(sorted({float(word.partition("=")[2]) for words in choices for word in words}))
        except ValueError:
            weights = ()
        if len(weights) < 2:
            raise UserError(f"hydra/sweeper=adaptive chooses among weights; give {WEIGHT_AXIS}=W1,W2,...")
        (jobs,) = self.split_arguments([axis for axis in overrides if axis not in of_weight], None)
        shared = set.intersection(*map(set, jobs))
        return weights, {" ".join(word for word in words if word not in shared): list(words) for words in jobs}

    def _check_measurable(self, weight: float) -> None:
        """Each combination's scores can choose a weight.

        Raises:
            UserError: those of one cannot.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        composer = Composer(self.hydra_context.config_loader, self.config)
        configs = composer.compose([[*words, f"{WEIGHT_AXIS}={weight!r}"] for words in self._words.values()])
        for config in {repr((config.suite, config.judge, config.stages)): config for config in configs}.values():
            check_measurable(config)

    def _train(self, requests: list[TrialRequest]) -> list[Cell | None]:
        """Launch a round's cells; those that are done are skipped by the launcher's grid. A failed one is None."""
        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        composer = Composer(self.hydra_context.config_loader, self.config)
        jobs = [[*self._words[request.line], f"{WEIGHT_AXIS}={request.weight!r}"] for request in requests]
        for job, request in zip(jobs, requests, strict=True):
            if request.repeat:
                seed = composer.compose([job])[0].repeated_seed(request.repeat)
                job[:] = [*(word for word in job if not word.startswith(f"{SEED_AXIS}=")), f"{SEED_AXIS}={seed}"]
        self.validate_batch_is_legal(jobs)
        failure: StageError | None = None
        try:
            results = self.launcher.launch(jobs, initial_job_idx=sum(map(len, self.returns)))
            for result in results:
                # Reading it raises what made the job fail.
                _ = result.return_value
            self.returns.append(results)
        except PermanentError:
            # The disk or the registry, without which no other cell gets on either.
            raise
        except StageError as error:
            failure = error
            self._failure = self._failure or failure
        return self._finished(composer.compose(jobs), failure)

    def _finished(self, configs: list[CellConfig], failure: StageError | None) -> list[Cell | None]:
        cells = [resolve_cell(config) for config in configs]
        done = [cell.is_finished for cell in cells]
        if not all(done) and isinstance(self.launcher, PlanLauncher):
            raise _PlannedError
        if not all(done) and failure is None:
            label = cells[done.index(False)].label
            raise StageError(f"{label} is not finished; the same command continues when it is")
        return [cell if is_done else None for cell, is_done in zip(cells, done, strict=True)]


class _PlannedError(Exception):
    """The plan ends where scores are needed that are not there yet."""
