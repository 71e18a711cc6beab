"""The optimizer step: gradient, penalty, clipping and update of one planned step, and its row of the log."""

import math
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plw.errors import StageError
from plw.launch.group import Group
from plw.train.batching.counts import TokenCounts
from plw.train.batching.plan import Step, TrainingPlan
from plw.train.build import PreparedModel
from plw.train.job import TrainingJob
from plw.train.model.parallel import full_tensor
from plw.train.model.weighted import StepLosses, accumulate_gradients, held_out_losses
from plw.train.optimizer import make_optimizer
from plw.train.preference.model import PreferenceLosses, accumulate_preference
from plw.train.regularise import MinkowskiPenalty
from plw.train.schedule import learning_rate
from plw.train.throughput import ThroughputMeter


class Stepper:
    """A loaded model and what updates it, for the steps of a plan.

    Args:
        job: what is learned from, and how.
        plan: its steps.
        prepared: the model, on ``device``.
        device: of this process.
        group: the processes that share each step.
        reference_E: of DPO, the log-probability of each example's answer by the frozen model.
    """

    def __init__(
        self,
        job: TrainingJob,
        plan: TrainingPlan,
        prepared: PreparedModel,
        device: torch.device,
        group: Group,
        *,
        reference_E: NDArray[np.float64] | None = None,
    ) -> None:
        self._job, self._plan, self._prepared, self._device, self._group = job, plan, prepared, device, group
        self._reference_E = reference_E
        self.model = prepared.loaded.model
        recipe = job.recipe
        self.optimizer = make_optimizer(self.model, recipe)
        self._penalty: MinkowskiPenalty | None = None
        if recipe.minkowski_weight:
            self._penalty = MinkowskiPenalty(self.model, p=recipe.minkowski_p, factor=recipe.minkowski_weight)
        self._throughput = ThroughputMeter(prepared.loaded, device, group.size)

    @property
    def steps(self) -> int:
        """Of the whole run."""
        return len(self._plan.steps)

    def release(self) -> None:
        """Give the memory of moments and base weights back, whoever still holds the object; no step follows."""
        self.optimizer.state.clear()
        self._penalty = None

    def step(self, number: int) -> dict[str, Any]:
        """Do a step, counted from 1; its log row, as :func:`plw.train.trainer.train` lists it.

        Raises:
            StageError: the loss or the gradient is no longer finite.
        """
        started = time.perf_counter()
        recipe, step = self._job.recipe, self._plan.steps[number - 1]
        warmup = self._plan.warmup_steps
        rate = learning_rate(recipe.schedule, recipe.learning_rate, number - 1, self.steps, warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses, counts = self._accumulate(step)
        penalty = None
        if self._penalty is not None:
            penalty = self._penalty.add_gradient(self._group, sharded=self._prepared.sharded)
        grad_norm = self._clip()
        if not (math.isfinite(losses.loss) and math.isfinite(grad_norm)):
            raise StageError(f"training diverged at step {number}: loss {losses.loss:g}, gradient norm {grad_norm:g}")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - started
        return {
            "step": number,
            "epoch": step.epoch,
            **asdict(losses),
            "penalty": penalty,
            "grad_norm": grad_norm,
            "learning_rate": rate,
            "tokens": step.tokens,
            "seconds": round(seconds, 4),
            **self._throughput.row(step.tokens, counts, seconds),
            **self._held_out(number),
        }

    def _accumulate(self, step: Step) -> tuple[StepLosses | PreferenceLosses, TokenCounts]:
        """The step's gradient; what it cost, and what was computed for it."""
        weighted, wrapper, device, group = self._prepared.weighted, self._prepared.wrapper, self._device, self._group
        if self._job.beta is None:
            return accumulate_gradients(weighted, self._job.examples, step, wrapper=wrapper, device=device, group=group)
        assert self._reference_E is not None
        return accumulate_preference(
            weighted,
            self._job.examples,
            step,
            reference_E=self._reference_E,
            beta=self._job.beta,
            wrapper=wrapper,
            device=device,
            group=group,
        )

    def _held_out(self, number: int) -> dict[str, float | None]:
        """The two losses on held-out examples, None at steps without them."""
        every, last = self._job.execution.evaluate_every, number == self.steps
        if not self._job.held_out or every is None or (number % every and not last):
            return {"held_out_prompt_loss": None, "held_out_completion_loss": None}
        losses = held_out_losses(
            self._prepared.weighted,
            self._job.held_out,
            token_budget=self._job.execution.token_budget,
            device=self._device,
            group=self._group,
            wrapper=self._prepared.wrapper,
        )
        return {"held_out_prompt_loss": losses.prompt_loss, "held_out_completion_loss": losses.completion_loss}

    def _clip(self) -> float:
        """The gradient's norm; the gradient is then scaled down to ``clip_norm`` if it was longer."""
        limit = self._job.recipe.clip_norm
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = full_tensor(
            torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None], foreach=True)
        )
        if limit is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm, foreach=True)
        return float(norm)
