"""The training loop: a planned run, done step by step, logged, checkpointed and saved as a model folder."""

import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plw.config.cell import identity_fields
from plw.config.study import PADDED
from plw.errors import UserError
from plw.launch.device import device_of
from plw.launch.group import ALONE, Group
from plw.paths import CHECKPOINTS, LOG, MODEL
from plw.progress import Progress, no_progress
from plw.results.identity import fingerprint
from plw.runtime.interrupt import Interrupted, deferred, requested
from plw.runtime.memory import release_memory
from plw.train import checkpoint
from plw.train.batching.plan import TrainingPlan, plan_training
from plw.train.build import PreparedModel, prepare_model
from plw.train.determinism import deterministic
from plw.train.job import TrainingJob, TrainingSummary
from plw.train.launch import launch
from plw.train.layout_choice import preferred_layout
from plw.train.log import TrainingLog, logged_steps
from plw.train.model.parallel import full_tensor
from plw.train.model.save import save_model
from plw.train.preference.model import reference_log_probs
from plw.train.preference.plan import all_pairs, plan_pairs
from plw.train.preference.reference import kept_log_probs
from plw.train.stepper import Stepper

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
    for the seconds. The log has per step, from 1: ``epoch`` (from 1), ``loss`` (weighted; of DPO: DPO's), the fields
    below, ``penalty`` (Minkowski, None without), ``grad_norm`` (before clipping), ``learning_rate``, ``tokens`` (of its
    examples), ``seconds``, ``computed_tokens`` (through the model, what examples share counted once), ``flops`` (the
    model's own, for them), ``tokens_per_second``, ``mfu`` and ``peak_memory_gib`` (None but on a GPU),
    ``held_out_prompt_loss`` and ``held_out_completion_loss`` (None at steps without a measurement).

    Of the weighted loss: ``prompt_loss`` and ``completion_loss`` (unweighted mean cross-entropy of the computed tokens
    of that role, None where none was computed). Of DPO, as :class:`plw.train.preference.model.PreferenceLosses` has
    them: ``accuracy``, ``margin``, ``chosen_reward`` and ``rejected_reward``.

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
    if job.execution.group_size > 1:
        # Mistakes that the plan finds are told without starting anything.
        _plan(job, PADDED, size=job.execution.group_size)
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
        job, group = self.job, self.group
        tf32 = job.recipe.precision == "bf16-mixed"
        threads = job.execution.thread_count
        with deterministic(seed=job.seed, threads=threads, device=self.device, tf32=tf32), ExitStack() as cleanup:
            cleanup.callback(release_memory)
            plan, prepared = self._plan_and_load()
            cleanup.callback(prepared.release)
            identity = run_identity(job, plan)
            reference_E = None if job.beta is None else self._reference(prepared, identity)
            stepper = Stepper(job, plan, prepared, self.device, group, reference_E=reference_E)
            cleanup.callback(stepper.release)
            if group.size > 1:
                # Loading drew the same numbers everywhere, as it must; from here each process drops out others.
                torch.manual_seed(job.seed + group.rank)
            done, seconds = self._train(stepper, identity)
            self.check_lease()
            # Before it is saved: a LoRA update is merged then.
            summary = TrainingSummary(
                steps=len(plan.steps),
                warmup_steps=plan.warmup_steps,
                examples=len(job.examples),
                tokens=sum(step.tokens for step in plan.steps),
                seconds=seconds,
                resumed_from=done,
                empty_units=plan.empty_units,
                layout=prepared.weighted.layout,
                parameters=sum(parameter.numel() for parameter in prepared.loaded.model.parameters()),
            )
            stepper.release()
            self._save_model(prepared)
            return summary

    def _plan_and_load(self) -> tuple[TrainingPlan, PreparedModel]:
        """The plan first, whose mistakes are told before anything is loaded; again where the model's layout differs."""
        layout = preferred_layout(self.job, self.device).layout
        plan = _plan(self.job, layout, size=self.group.size)
        prepared = prepare_model(self.job, self.device, self.group)
        if prepared.weighted.layout != layout:
            plan = _plan(self.job, prepared.weighted.layout, size=self.group.size)
        return plan, prepared

    def _reference(self, prepared: PreparedModel, identity: str) -> NDArray[np.float64]:
        """Log-probabilities of all answers by the model before its first update, the frozen model of DPO."""
        job, weighted, budget = self.job, prepared.weighted, self.job.execution.token_budget
        read = partial(
            reference_log_probs,
            weighted,
            job.examples,
            all_pairs(job.examples, token_budget=budget, processes=self.group.size, layout=weighted.layout),
            device=self.device,
            group=self.group,
            wrapper=prepared.wrapper,
            check_lease=self.check_lease,
            progress=self.progress,
        )
        return kept_log_probs(self.checkpoints, identity, read, self.group, self.check_lease)

    def _train(self, stepper: Stepper, identity: str) -> tuple[int, float]:
        """The steps that are left; how many were done before, and the seconds of all."""
        done, seconds_before, rows = self._resume(stepper, identity)
        started = saved_at = time.perf_counter()
        self.check_lease()
        # The file is rank 0's; the others go through the same steps without one.
        with deferred(), TrainingLog(self.job.folder / LOG, rows) if self.group.is_rank0 else nullcontext() as log:
            for number in range(done + 1, stepper.steps + 1):
                self.check_lease()
                row = stepper.step(number)
                if log is not None:
                    log.append(row)
                if self.on_step is not None:
                    self.on_step({**row, "steps": stepper.steps})
                now = time.perf_counter()
                due = now - saved_at >= self.job.execution.checkpoint_seconds
                due, stop = self.group.broadcast_object((due, self.stop_requested()))
                if (due or stop) and number < stepper.steps:
                    self.check_lease()
                    if log is not None:
                        log.sync()
                    at = checkpoint.TrainProgress(step=number, seconds=seconds_before + now - started, run=identity)
                    self._save_checkpoint(stepper, at)
                    saved_at = time.perf_counter()
                    if stop:
                        raise Interrupted(requested() or signal.SIGTERM)
            if log is not None:
                log.sync()
        return done, seconds_before + time.perf_counter() - started

    def _resume(self, stepper: Stepper, identity: str) -> tuple[int, float, list[dict[str, Any]]]:
        """Steps done, seconds they took and their log rows, with model and optimizer as they were then."""
        rows = logged_steps(self.job.folder / LOG)
        # One process alone reads the files through, to see that they are what was written.
        found = checkpoint.latest(self.checkpoints, at_most=len(rows)) if self.group.is_rank0 else None
        found = self.group.broadcast_object(found)
        if found is None:
            return 0, 0.0, []
        if found.run != identity:
            raise UserError(
                f"{self.checkpoints}: its checkpoint belongs to a run of other data, recipe, weights or seed; "
                "remove the folder to start afresh"
            )
        checkpoint.restore(stepper.model, stepper.optimizer, self.checkpoints, found.step, self.group)
        return found.step, found.seconds, rows[: found.step]

    def _save_checkpoint(self, stepper: Stepper, at: checkpoint.TrainProgress) -> None:
        checkpoint.save(
            self.checkpoints,
            at,
            checkpoint.capture(stepper.model, stepper.optimizer, self.group),
            keep=self.job.execution.keep_checkpoints,
            group=self.group,
            check_lease=self.check_lease,
        )

    def _save_model(self, prepared: PreparedModel) -> None:
        """The first process writes; where the model is in parts, all of them hand theirs over."""
        tensors, model = None, prepared.loaded.model
        if prepared.sharded:
            saved = model.state_dict().keys()
            tensors = {name: full_tensor(p.detach()).cpu() for name, p in model.named_parameters()}
            tensors |= {name: buffer.cpu() for name, buffer in model.named_buffers() if name in saved}
        if self.group.is_rank0:
            save_model(prepared.loaded, self.job.folder / MODEL, tensors=tensors, check_lease=self.check_lease)
            shutil.rmtree(self.checkpoints, ignore_errors=True)


def run_identity(job: TrainingJob, plan: TrainingPlan) -> str:
    """Fingerprint of what decides every step's update; a checkpoint of another one is not gone on from."""
    about: dict[str, Any] = {"plan": plan.digest, "recipe": asdict(job.recipe), "loss": identity_fields(job.loss)}
    if job.beta is not None:
        about["beta"] = job.beta
    return fingerprint({**about, "seed": job.seed})


def _always() -> None:
    """Nothing stops the work."""
