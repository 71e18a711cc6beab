"""The training loop: a planned run, carried out step by step, logged, checkpointed and saved as a model folder."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from plw.errors import StageError, UserError
from plw.identity import fingerprint
from plw.train import checkpoint
from plw.train.batching.layout import PADDED
from plw.train.batching.plan import Step, TrainingPlan, plan_training
from plw.train.determinism import deterministic
from plw.train.job import CHECKPOINTS, LOG, MODEL, TrainingJob, TrainingSummary
from plw.train.launch import launch
from plw.train.log import TrainingLog, logged_steps
from plw.train.model.build import preferred_layout, prepare_model
from plw.train.model.load import save_model
from plw.train.model.parallel import ALONE, Group, whole
from plw.train.model.weighted import accumulate_gradients, held_out_losses
from plw.train.optimizer import make_optimizer
from plw.train.regularise import MinkowskiPenalty
from plw.train.schedule import learning_rate
from plw.train.throughput import Speed

__all__ = ["CHECKPOINTS", "LOG", "MODEL", "TrainingJob", "TrainingSummary", "carry_out", "train"]


def train(
    job: TrainingJob,
    *,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    check_lease: Callable[[], None] | None = None,
) -> TrainingSummary:
    """Carry out a job from the newest checkpoint in its folder, or from the start.

    Interrupted anywhere and called again, it ends with the same weights, bit by bit on a CPU, and the same log but
    for the seconds. The log has per step, from 1: ``epoch`` (from 1), ``loss`` (weighted), ``prompt_loss`` and
    ``completion_loss`` (unweighted mean cross-entropy of the computed tokens of that role, None where none was
    computed), ``penalty`` (Minkowski, None without), ``grad_norm`` (before clipping), ``learning_rate``, ``tokens`` (of
    its examples), ``seconds``, ``computed_tokens`` (through the model, what examples share counted once),
    ``tokens_per_second``, ``mfu`` and ``peak_memory_gib`` (None but on a GPU), ``held_out_prompt_loss`` and
    ``held_out_completion_loss`` (None at steps without a measurement).

    Several processes are started by torchrun; then this one only watches them.

    Args:
        job: what to do.
        on_step: gets each log row once it is written, and ``steps``, their number.
        check_lease: called before each step and before each write; stops the work at once by raising.

    Raises:
        UserError: nothing to train on, a layout that cannot carry it, a model that cannot be loaded, or checkpoints of
            another run in the folder.
        StageError: the loss or the gradient is no longer finite.
    """
    if job.processes * job.nodes > 1:
        _plan(job, PADDED, size=job.processes * job.nodes)
        return launch(job, on_step=on_step, check_lease=check_lease or _always)
    return carry_out(job, device_of(job.device), on_step=on_step, check_lease=check_lease or _always)


def carry_out(
    job: TrainingJob,
    device: torch.device,
    group: Group = ALONE,
    *,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    check_lease: Callable[[], None],
) -> TrainingSummary:
    """``train`` in this process, which is alone or one of a group."""
    tf32 = job.recipe.precision == "bf16-mixed"
    plan = _plan(job, preferred_layout(job, device), size=group.size)
    with deterministic(seed=job.seed, threads=job.threads, device=device, tf32=tf32):
        return _Run(job, plan, device, group, on_step, check_lease).carry_out()


def _plan(job: TrainingJob, layout: str, *, size: int) -> TrainingPlan:
    return plan_training(
        job.examples,
        job.loss,
        job.recipe,
        seed=job.seed,
        token_budget=job.token_budget,
        processes=size,
        layout=layout,
    )


class _Run:
    """The state of one attempt at a job, in one process."""

    def __init__(
        self,
        job: TrainingJob,
        plan: TrainingPlan,
        device: torch.device,
        group: Group,
        on_step: Callable[[dict[str, Any]], None] | None,
        check_lease: Callable[[], None],
    ) -> None:
        self.job, self.plan, self.device, self.group = job, plan, device, group
        self.on_step, self.check_lease = on_step, check_lease
        self.prepared = prepare_model(job, device, group)
        if (layout := self.prepared.weighted.layout) != preferred_layout(job, device):
            self.plan = _plan(job, layout, size=group.size)
        self.model = self.prepared.loaded.model
        self.optimizer = make_optimizer(self.model, job.recipe)
        self.penalty = None
        if job.recipe.minkowski_weight:
            self.penalty = MinkowskiPenalty(self.model, p=job.recipe.minkowski_p, factor=job.recipe.minkowski_weight)
        self.speed = Speed(self.prepared.loaded, device, group.size)
        self.identity = fingerprint(
            {"plan": plan.digest, "recipe": asdict(job.recipe), "loss": asdict(job.loss), "seed": job.seed}
        )
        self.checkpoints = job.folder / CHECKPOINTS
        if group.size > 1:
            # Loading drew the same numbers everywhere, as it must; from here each process drops out others.
            torch.manual_seed(job.seed + group.rank)

    def carry_out(self) -> TrainingSummary:
        """Train what is left, save the model, remove the checkpoints."""
        done, seconds_before, rows = self._resume()
        started = saved_at = time.perf_counter()
        self.check_lease()
        # The file is the first process's; the others go through the same steps without one.
        log = TrainingLog(self.job.folder / LOG, rows) if self.group.first else None
        try:
            for number, step in enumerate(self.plan.steps[done:], start=done + 1):
                self.check_lease()
                row = self._step(number, step)
                if log is not None:
                    log.append(row)
                if self.on_step is not None:
                    self.on_step({**row, "steps": len(self.plan.steps)})
                now = time.perf_counter()
                due = self.group.first_says(now - saved_at >= self.job.checkpoint_seconds)
                if due and number < len(self.plan.steps):
                    self.check_lease()
                    if log is not None:
                        log.sync()
                    self._save_checkpoint(number, seconds_before + now - started)
                    saved_at = time.perf_counter()
            if log is not None:
                log.sync()
        finally:
            if log is not None:
                log.close()
        seconds = seconds_before + time.perf_counter() - started
        self.check_lease()
        self._save_model()
        return TrainingSummary(
            steps=len(self.plan.steps),
            warmup_steps=self.plan.warmup_steps,
            examples=len(self.job.examples),
            tokens=sum(step.tokens for step in self.plan.steps),
            seconds=seconds,
            resumed_from=done,
            empty_units=self.plan.empty_units,
            layout=self.prepared.weighted.layout,
        )

    def _resume(self) -> tuple[int, float, list[dict[str, Any]]]:
        """Steps done, seconds they took and their log rows, with model and optimizer as they were then."""
        rows = logged_steps(self.job.folder / LOG)
        found = self.group.first_says(checkpoint.latest(self.checkpoints, at_most=len(rows)))
        if found is None:
            return 0, 0.0, []
        if found.run != self.identity:
            raise UserError(
                f"{self.checkpoints}: its checkpoint belongs to a run of other data, recipe, weights or seed; "
                "remove the folder to start afresh"
            )
        checkpoint.restore(self.model, self.optimizer, self.checkpoints, found.step, self.group)
        return found.step, found.seconds, rows[: found.step]

    def _save_checkpoint(self, step: int, seconds: float) -> None:
        checkpoint.save(
            self.checkpoints,
            checkpoint.Position(step=step, seconds=seconds, run=self.identity),
            checkpoint.capture(self.model, self.optimizer, self.group),
            keep=self.job.keep_checkpoints,
            group=self.group,
        )

    def _save_model(self) -> None:
        """The first process writes; where the model is in parts, all of them hand theirs over."""
        tensors = None
        if self.prepared.sharded:
            saved = self.model.state_dict().keys()
            tensors = {name: whole(p.detach()).cpu() for name, p in self.model.named_parameters()}
            tensors |= {name: buffer.cpu() for name, buffer in self.model.named_buffers() if name in saved}
        if self.group.first:
            save_model(self.prepared.loaded, self.job.folder / MODEL, tensors=tensors)
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _step(self, number: int, step: Step) -> dict[str, Any]:
        """One optimizer step; its log row."""
        started = time.perf_counter()
        recipe = self.job.recipe
        rate = learning_rate(
            recipe.schedule, recipe.learning_rate, number - 1, len(self.plan.steps), self.plan.warmup_steps
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        prepared, where = self.prepared, {"device": self.device, "group": self.group}
        losses, work = accumulate_gradients(
            prepared.weighted,
            self.job.examples,
            step,
            wrapper=prepared.wrapper,
            **where,  # type: ignore[arg-type]
        )
        penalty = None
        if self.penalty is not None:
            penalty = self.penalty.add_gradient(self.group, sharded=prepared.sharded)
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
            **self.speed.row(step.tokens, work, seconds),
            **self._held_out(number),
        }

    def _held_out(self, number: int) -> dict[str, float | None]:
        """The two losses on held-out examples, None at steps without them."""
        every, last = self.job.evaluate_every, number == len(self.plan.steps)
        if not self.job.held_out or every is None or (number % every and not last):
            return {"held_out_prompt_loss": None, "held_out_completion_loss": None}
        losses = held_out_losses(
            self.prepared.weighted,
            self.job.held_out,
            token_budget=self.job.token_budget,
            device=self.device,
            group=self.group,
            wrapper=self.prepared.wrapper,
        )
        return {"held_out_prompt_loss": losses.prompt_loss, "held_out_completion_loss": losses.completion_loss}

    def _clip(self) -> float:
        """The gradient's norm; the gradient is then scaled down to ``clip_norm`` if it was longer."""
        limit = self.job.recipe.clip_norm
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None], foreach=True))
        if limit is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm, foreach=True)
        return float(norm)


def device_of(name: str) -> torch.device:
    """The device that ``execution.device`` names.

    Raises:
        UserError: CUDA is asked for where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("execution.device=cuda, but torch sees no CUDA device; allowed here: cpu, auto")
    return torch.device(name)


def _always() -> None:
    """Nothing stops the work."""
