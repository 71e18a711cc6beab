"""The training loop: a planned run, carried out step by step, logged, checkpointed and saved as a model folder."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from plw.config.training import LossConfig, RecipeConfig
from plw.data.encoding import EncodedExample
from plw.errors import StageError, UserError
from plw.identity import fingerprint
from plw.train import checkpoint
from plw.train.determinism import deterministic
from plw.train.gradient import accumulate_gradients
from plw.train.log import TrainingLog, logged_steps
from plw.train.model import LoadedModel, load_model, save_model
from plw.train.optimizer import make_optimizer
from plw.train.plan import Step, TrainingPlan, plan_training
from plw.train.schedule import learning_rate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODEL = "model"
LOG = "log.jsonl"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One cell's fine-tuning: what is trained on what, and where."""

    model: str
    """Folder or hub name of the base model."""
    revision: str | None = None
    trust_remote_code: bool = False
    tokenizer: "PreTrainedTokenizerBase"
    examples: list[EncodedExample]
    loss: LossConfig
    recipe: RecipeConfig
    seed: int
    """Decides the order of the examples, and dropout where the model has it."""
    folder: Path
    """The stage's folder; gets ``model/``, ``log.jsonl`` and, while training, ``checkpoints/``."""
    device: str = "cpu"
    """``auto`` (CUDA where there is one), ``cpu`` or ``cuda``."""
    threads: int = 1
    token_budget: int = 2048
    """Tokens of a micro-batch, padding included; changes the result by rounding alone."""
    checkpoint_seconds: float = 300.0
    keep_checkpoints: int = 2


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """What was done."""

    steps: int
    warmup_steps: int
    examples: int
    tokens: int
    """Tokens seen, padding excluded, over all epochs."""
    seconds: float
    """Seconds of training, over all attempts as far as checkpoints know."""
    resumed_from: int
    """Steps that an earlier attempt had done; 0 for a fresh start."""
    empty_units: int
    """Units of the loss that had no token to count (Z = 0) and contributed nothing."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for a record."""
        return asdict(self)


def train(
    job: TrainingJob,
    *,
    on_step: Callable[[dict[str, Any]], None] | None = None,
    keep_going: Callable[[], None] | None = None,
) -> TrainingSummary:
    """Carry out a job from the newest checkpoint in its folder, or from the start.

    Interrupted anywhere and called again, it ends with the same weights, bit by bit on a CPU, and the same log but
    for the seconds. The log has per step, from 1: ``epoch`` (from 1), ``loss`` (weighted), ``prompt_loss`` and
    ``completion_loss`` (unweighted mean cross-entropy of the computed tokens of that role, None where none was
    computed), ``grad_norm`` (before clipping), ``learning_rate``, ``tokens``, ``seconds``.

    Args:
        job: what to do.
        on_step: gets each log row once it is written, and ``steps``, their number.
        keep_going: called before each step and before each write; stops the work at once by raising.

    Raises:
        UserError: nothing to train on, a model that cannot be loaded, or checkpoints of another run in the folder.
        StageError: the loss or the gradient is no longer finite.
    """
    device = _device(job.device)
    plan = plan_training(job.examples, job.loss, job.recipe, seed=job.seed, token_budget=job.token_budget)
    with deterministic(seed=job.seed, threads=job.threads, device=device):
        return _Run(job, plan, device, on_step, keep_going or _always).carry_out()


class _Run:
    """The state of one attempt at a job."""

    def __init__(
        self,
        job: TrainingJob,
        plan: TrainingPlan,
        device: torch.device,
        on_step: Callable[[dict[str, Any]], None] | None,
        keep_going: Callable[[], None],
    ) -> None:
        self.job, self.plan, self.device = job, plan, device
        self.on_step, self.keep_going = on_step, keep_going
        self.loaded: LoadedModel = load_model(
            job.model, job.tokenizer, revision=job.revision, trust_remote_code=job.trust_remote_code
        )
        self.loaded.model.to(device)
        self.loaded.model.train()
        self.optimizer = make_optimizer(self.loaded.model, job.recipe)
        self.identity = fingerprint(
            {"plan": plan.digest, "recipe": asdict(job.recipe), "loss": asdict(job.loss), "seed": job.seed}
        )
        self.checkpoints = job.folder / CHECKPOINTS

    def carry_out(self) -> TrainingSummary:
        """Train what is left, save the model, remove the checkpoints."""
        done, seconds_before, rows = self._resume()
        started = saved_at = time.perf_counter()
        self.keep_going()
        with TrainingLog(self.job.folder / LOG, rows) as log:
            for number, step in enumerate(self.plan.steps[done:], start=done + 1):
                self.keep_going()
                row = self._step(number, step)
                log.append(row)
                if self.on_step is not None:
                    self.on_step({**row, "steps": len(self.plan.steps)})
                now = time.perf_counter()
                if now - saved_at >= self.job.checkpoint_seconds and number < len(self.plan.steps):
                    self.keep_going()
                    log.sync()
                    self._save_checkpoint(number, seconds_before + now - started)
                    saved_at = time.perf_counter()
            log.sync()
        seconds = seconds_before + time.perf_counter() - started
        self.keep_going()
        save_model(self.loaded, self.job.folder / MODEL)
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        return TrainingSummary(
            steps=len(self.plan.steps),
            warmup_steps=self.plan.warmup_steps,
            examples=len(self.job.examples),
            tokens=sum(step.tokens for step in self.plan.steps),
            seconds=seconds,
            resumed_from=done,
            empty_units=self.plan.empty_units,
        )

    def _resume(self) -> tuple[int, float, list[dict[str, Any]]]:
        """Steps done, seconds they took and their log rows, with model and optimizer as they were then."""
        rows = logged_steps(self.job.folder / LOG)
        found = checkpoint.load_latest(self.checkpoints, at_most=len(rows))
        if found is None:
            return 0, 0.0, []
        position = found.position
        if position.run != self.identity:
            raise UserError(
                f"{self.checkpoints}: its checkpoint belongs to a run of other data, recipe, weights or seed; "
                "remove the folder to start afresh"
            )
        checkpoint.restore(self.loaded.model, self.optimizer, found.tensors)
        return position.step, position.seconds, rows[: position.step]

    def _save_checkpoint(self, step: int, seconds: float) -> None:
        checkpoint.save(
            self.checkpoints,
            checkpoint.Position(step=step, seconds=seconds, run=self.identity),
            checkpoint.capture(self.loaded.model, self.optimizer),
            keep=self.job.keep_checkpoints,
        )

    def _step(self, number: int, step: Step) -> dict[str, Any]:
        """One optimizer step; its log row."""
        started = time.perf_counter()
        recipe = self.job.recipe
        rate = learning_rate(
            recipe.schedule, recipe.learning_rate, number - 1, len(self.plan.steps), self.plan.warmup_steps
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = accumulate_gradients(
            self.loaded, self.job.examples, step, device=self.device, precision=recipe.precision
        )
        grad_norm = self._clip()
        if not (math.isfinite(losses.loss) and math.isfinite(grad_norm)):
            raise StageError(f"training diverged at step {number}: loss {losses.loss:g}, gradient norm {grad_norm:g}")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {
            "step": number,
            "epoch": step.epoch,
            **asdict(losses),
            "grad_norm": grad_norm,
            "learning_rate": rate,
            "tokens": step.tokens,
            "seconds": round(time.perf_counter() - started, 4),
        }

    def _clip(self) -> float:
        """The gradient's norm; the gradient is then scaled down to ``clip_norm`` if it was longer."""
        limit = self.job.recipe.clip_norm
        parameters = [parameter for parameter in self.loaded.model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None], foreach=True)
        if limit is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm, foreach=True)
        return float(norm)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("execution.device=cuda, but torch sees no CUDA device; allowed here: cpu, auto")
    return torch.device(name)


def _always() -> None:
    """Nothing stops the work."""
