"""The training loop: a planned run, done step by step, logged, checkpointed and saved as a model folder."""

import math
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch

from plw.config.cell import identity_fields
from plw.errors import StageError, UserError
from plw.identity import fingerprint
from plw.interrupt import Interrupted, deferred, requested
from plw.launch.device import device_of
from plw.launch.group import ALONE, Group
from plw.memory import release_memory
from plw.paths import CHECKPOINTS, LOG, MODEL
from plw.progress import Progress, no_progress
from plw.train import checkpoint
from plw.train.batching.counts import TokenCounts
from plw.train.batching.layout import PADDED
from plw.train.batching.plan import Step, TrainingPlan, plan_training
from plw.train.build import prepare_model
from plw.train.determinism import deterministic
from plw.train.job import TrainingJob, TrainingSummary
from plw.train.launch import launch
from plw.train.layout_choice import preferred_layout
from plw.train.log import TrainingLog, logged_steps
from plw.train.model.parallel import full_tensor
from plw.train.model.save import save_model
from plw.train.model.weighted import StepLosses, accumulate_gradients, held_out_losses
from plw.train.optimizer import make_optimizer
from plw.train.preference.model import PreferenceLosses, accumulate_preference, reference_log_probs
from plw.train.preference.plan import all_pairs, plan_pairs
from plw.train.regularise import MinkowskiPenalty
from plw.train.schedule import learning_rate
from plw.train.throughput import ThroughputMeter

OnStep = Callable[[dict[str, Any]], None]


def train(
    job: TrainingJob,
    *,
    on_step: OnStep | None = None,
    check_lease: Callable[[], None] | None = None,
    progress: Progress = no_progress,
) -> TrainingSummary:
    """Do a job from the newest checkpoint in its folder, or from the start.

    Interrupted anywhere and called again, it ends with the same weights, bit by bit on a CPU, and the same log but
    for the seconds. The log has per step, from 1: ``epoch`` (from 1), ``loss`` (weighted), ``prompt_loss`` and
    ``completion_loss`` (unweighted mean cross-entropy of the computed tokens of that role, None where none was
    computed), ``penalty`` (Minkowski, None without), ``grad_norm`` (before clipping), ``learning_rate``, ``tokens`` (of
    its examples), ``seconds``, ``computed_tokens`` (through the model, what examples share counted once), ``flops``
    (the model's own, for them), ``tokens_per_second``, ``mfu`` and ``peak_memory_gib`` (None but on a GPU),
    ``held_out_prompt_loss`` and ``held_out_completion_loss`` (None at steps without a measurement).

    Several processes are started by torchrun; then this one only watches them.

    Args:
        job: what to do.
        on_step: gets each log row once it is written, and ``steps``, their number.
        check_lease: called before each step and before each write; stops the work at once by raising.
        progress: told how far the log-probabilities of DPO's frozen model are, which come before the first step.

    Raises:
        UserError: nothing to train on, a layout that cannot carry it, a model that cannot be loaded, or checkpoints of
            another run in the folder.
        StageError: the loss or the gradient is no longer finite.
        Interrupted: by SIGINT or SIGTERM, with a checkpoint of the step that was under way.
    """
    if job.group_size > 1:
        # Mistakes that the plan finds are told without starting anything.
        _plan(job, PADDED, size=job.group_size)
        return launch(job, on_step=on_step, check_lease=check_lease or _always, progress=progress)
    device = device_of(job.execution.device)
    return Trainer(job, device, on_step=on_step, check_lease=check_lease, progress=progress).run()


def _plan(job: TrainingJob, layout: str, *, size: int) -> TrainingPlan:
    if job.beta is not None:
        return plan_pairs(
            job.examples,
            job.recipe,
            seed=job.seed,
            token_budget=job.execution.token_budget,
            processes=size,
            layout=layout,
        )
    return plan_training(
        job.examples,
        job.loss,
        job.recipe,
        seed=job.seed,
        token_budget=job.execution.token_budget,
        processes=size,
        layout=layout,
    )


class Trainer:
    """One attempt at a training job, in this process, which is alone or one of a group."""

    def __init__(
        self,
        job: TrainingJob,
        device: torch.device,
        group: Group = ALONE,
        *,
        on_step: OnStep | None = None,
        check_lease: Callable[[], None] | None = None,
        stop_requested: Callable[[], bool] = lambda: requested() is not None,
        progress: Progress = no_progress,
    ) -> None:
        self.job, self.device, self.group, self.progress = job, device, group, progress
        self.on_step, self.check_lease = on_step, check_lease or _always
        self.stop_requested = stop_requested
        self.checkpoints = job.folder / CHECKPOINTS

    def run(self) -> TrainingSummary:
        """Train what is left, save the model, remove the checkpoints; see :func:`train`."""
        job = self.job
        tf32 = job.recipe.precision == "bf16-mixed"
        with deterministic(seed=job.seed, threads=job.execution.thread_count, device=self.device, tf32=tf32):
            try:
                self._prepare()
                done, seconds = self._train()
                self.check_lease()
                layout = self.prepared.weighted.layout
                parameters = sum(parameter.numel() for parameter in self.model.parameters())
                self.optimizer.state.clear()
                self._save_model()
            finally:
                self._release()
        return TrainingSummary(
            steps=len(self.plan.steps),
            warmup_steps=self.plan.warmup_steps,
            examples=len(job.examples),
            tokens=sum(step.tokens for step in self.plan.steps),
            seconds=seconds,
            resumed_from=done,
            empty_units=self.plan.empty_units,
            layout=layout,
            parameters=parameters,
        )

    def _prepare(self) -> None:
        """Plan the run; load the model and what steps it."""
        job, recipe = self.job, self.job.recipe
        layout = preferred_layout(job, self.device).layout
        self.plan = _plan(job, layout, size=self.group.size)
        self.prepared = prepare_model(job, self.device, self.group)
        if self.prepared.weighted.layout != layout:
            self.plan = _plan(job, self.prepared.weighted.layout, size=self.group.size)
        self.model = self.prepared.loaded.model
        self.optimizer = make_optimizer(self.model, recipe)
        self.penalty = None
        if recipe.minkowski_weight:
            self.penalty = MinkowskiPenalty(self.model, p=recipe.minkowski_p, factor=recipe.minkowski_weight)
        self.throughput = ThroughputMeter(self.prepared.loaded, self.device, self.group.size)
        about: dict[str, Any] = {"plan": self.plan.digest, "recipe": asdict(recipe), "loss": identity_fields(job.loss)}
        if job.beta is not None:
            about["beta"] = job.beta
            self._read_reference()
        self.identity = fingerprint({**about, "seed": job.seed})
        if self.group.size > 1:
            # Loading drew the same numbers everywhere, as it must; from here each process drops out others.
            torch.manual_seed(job.seed + self.group.rank)

    def _read_reference(self) -> None:
        """Log-probabilities of all answers by the model before its first update, the frozen model of DPO."""
        job = self.job
        everything = all_pairs(
            job.examples,
            token_budget=job.execution.token_budget,
            processes=self.group.size,
            layout=self.prepared.weighted.layout,
        )
        self.reference_E = reference_log_probs(
            self.prepared.weighted,
            job.examples,
            everything,
            device=self.device,
            group=self.group,
            wrapper=self.prepared.wrapper,
            check_lease=self.check_lease,
            progress=self.progress,
        )

    def _train(self) -> tuple[int, float]:
        """The steps that are left; how many were done before, and the seconds of all."""
        done, seconds_before, rows = self._resume()
        started = saved_at = time.perf_counter()
        self.check_lease()
        # The file is rank 0's; the others go through the same steps without one.
        with deferred(), TrainingLog(self.job.folder / LOG, rows) if self.group.is_rank0 else nullcontext() as log:
            for number, step in enumerate(self.plan.steps[done:], start=done + 1):
                self.check_lease()
                row = self._step(number, step)
                if log is not None:
                    log.append(row)
                if self.on_step is not None:
                    self.on_step({**row, "steps": len(self.plan.steps)})
                now = time.perf_counter()
                due = now - saved_at >= self.job.execution.checkpoint_seconds
                due, stop = self.group.broadcast_object((due, self.stop_requested()))
                if (due or stop) and number < len(self.plan.steps):
                    self.check_lease()
                    if log is not None:
                        log.sync()
                    self._save_checkpoint(number, seconds_before + now - started)
                    saved_at = time.perf_counter()
                    if stop:
                        raise Interrupted(requested() or signal.SIGTERM)
            if log is not None:
                log.sync()
        return done, seconds_before + time.perf_counter() - started

    def _resume(self) -> tuple[int, float, list[dict[str, Any]]]:
        """Steps done, seconds they took and their log rows, with model and optimizer as they were then."""
        rows = logged_steps(self.job.folder / LOG)
        # One process alone reads the files through, to see that they are what was written.
        found = checkpoint.latest(self.checkpoints, at_most=len(rows)) if self.group.is_rank0 else None
        found = self.group.broadcast_object(found)
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
            checkpoint.TrainProgress(step=step, seconds=seconds, run=self.identity),
            checkpoint.capture(self.model, self.optimizer, self.group),
            keep=self.job.execution.keep_checkpoints,
            group=self.group,
            check_lease=self.check_lease,
        )

    def _save_model(self) -> None:
        """The first process writes; where the model is in parts, all of them hand theirs over."""
        tensors = None
        if self.prepared.sharded:
            saved = self.model.state_dict().keys()
            tensors = {name: full_tensor(p.detach()).cpu() for name, p in self.model.named_parameters()}
            tensors |= {name: buffer.cpu() for name, buffer in self.model.named_buffers() if name in saved}
        if self.group.is_rank0:
            save_model(self.prepared.loaded, self.job.folder / MODEL, tensors=tensors, check_lease=self.check_lease)
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _release(self) -> None:
        """Give the memory of weights, gradients and moments back, whoever still holds the objects."""
        for name in ("optimizer", "penalty"):
            self.__dict__.pop(name, None)
        prepared = self.__dict__.pop("prepared", None)
        if prepared is not None and self.group.size == 1:
            prepared.loaded.model.zero_grad(set_to_none=True)
            prepared.loaded.model.to("meta")
        self.__dict__.pop("model", None)
        release_memory()

    def _step(self, number: int, step: Step) -> dict[str, Any]:
        """One optimizer step; its log row."""
        started = time.perf_counter()
        recipe = self.job.recipe
        rate = learning_rate(
            recipe.schedule, recipe.learning_rate, number - 1, len(self.plan.steps), self.plan.warmup_steps
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses, counts = self._accumulate(step)
        penalty = None
        if self.penalty is not None:
            penalty = self.penalty.add_gradient(self.group, sharded=self.prepared.sharded)
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
            **self.throughput.row(step.tokens, counts, seconds),
            **self._held_out(number),
        }

    def _accumulate(self, step: Step) -> tuple[StepLosses | PreferenceLosses, TokenCounts]:
        """The step's gradient; what it cost, and what was computed for it."""
        weighted, wrapper, device, group = self.prepared.weighted, self.prepared.wrapper, self.device, self.group
        if self.job.beta is None:
            return accumulate_gradients(weighted, self.job.examples, step, wrapper=wrapper, device=device, group=group)
        return accumulate_preference(
            weighted,
            self.job.examples,
            step,
            reference_E=self.reference_E,
            beta=self.job.beta,
            wrapper=wrapper,
            device=device,
            group=group,
        )

    def _held_out(self, number: int) -> dict[str, float | None]:
        """The two losses on held-out examples, None at steps without them."""
        every, last = self.job.execution.evaluate_every, number == len(self.plan.steps)
        if not self.job.held_out or every is None or (number % every and not last):
            return {"held_out_prompt_loss": None, "held_out_completion_loss": None}
        losses = held_out_losses(
            self.prepared.weighted,
            self.job.held_out,
            token_budget=self.job.execution.token_budget,
            device=self.device,
            group=self.group,
            wrapper=self.prepared.wrapper,
        )
        return {"held_out_prompt_loss": losses.prompt_loss, "held_out_completion_loss": losses.completion_loss}

    def _clip(self) -> float:
        """The gradient's norm; the gradient is then scaled down to ``clip_norm`` if it was longer."""
        limit = self.job.recipe.clip_norm
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = full_tensor(
            torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None], foreach=True)
        )
        if limit is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm, foreach=True)
        return float(norm)


def _always() -> None:
    """Nothing stops the work."""
