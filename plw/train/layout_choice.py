"""Which layout a run takes, and proof by a probe that the model's hidden states are right in it."""

import logging
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plw.config.study import AUTO, PACKED, PADDED, PREFIX
from plw.errors import UserError
from plw.train.batching.packed_row import make_row
from plw.train.batching.placement import PlacedTokens, place_tokens
from plw.train.job import TrainingJob
from plw.train.model.attention import ROW_ATTENTION, RowUnknownError, has_varlen_kernel, register
from plw.train.model.head import near
from plw.train.model.load import LoadedModel
from plw.train.model.weighted import hidden_states
from plw.train.model.written_attention import MAX_KEYS, serves_on

logger = logging.getLogger(__name__)

ROW_TOKENS = 48
"""Mean tokens of an example from which one row is known to be faster than padded ones on a CPU (docs/benchmarks.md)."""

PROBE_EXAMPLES = ([1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2, 7], [8, 9, 10, 11, 12])
"""Examples by which a layout is tried out: some have a common prefix, and none ends alike."""


@dataclass(frozen=True, kw_only=True)
class LayoutChoice:
    """A layout, and why it is this one."""

    layout: str
    reason: str


def preferred_layout(job: TrainingJob, device: torch.device) -> LayoutChoice:
    """What is asked for; by default ``prefix`` where torch's own variable-length attention runs, and on a CPU.

    Without that kernel attention goes example by example: on a CPU only short examples notice, on a GPU all do.
    """
    if job.execution.layout != AUTO:
        return LayoutChoice(layout=job.execution.layout, reason="asked for")
    if job.recipe.dropout:
        return LayoutChoice(layout=PADDED, reason=f"recipe.dropout={job.recipe.dropout:g}")
    if not job.examples:
        return LayoutChoice(layout=PADDED, reason="no examples")
    product = _product_dtype(job)
    if has_varlen_kernel(device, product):
        return LayoutChoice(layout=PREFIX, reason="a variable-length kernel runs here")
    if device.type != "cpu":
        return LayoutChoice(layout=PADDED, reason=f"no variable-length kernel for {product} on {device.type}")
    mean = sum(len(example.token_T) for example in job.examples) / len(job.examples)
    words = f"{mean:.0f} tokens an example in the mean, and on a CPU a row pays from {ROW_TOKENS} on"
    return LayoutChoice(layout=PREFIX if mean >= ROW_TOKENS else PADDED, reason=words)


def set_layout(loaded: LoadedModel, job: TrainingJob, wanted: LayoutChoice) -> LayoutChoice:
    """Give the model the attention of the wanted layout, or of the next best in which its hidden states are right.

    Raises:
        UserError: they are not in the layout that was asked for.
    """
    if wanted.layout == PADDED:
        return wanted
    kind = loaded.model.config.model_type
    packed_TD = _pack(loaded)
    if packed_TD is None:
        problem = f"in one row the tokens of a {kind} model would not be what they are in each example alone"
        found = PADDED
    elif wanted.layout == PACKED:
        return wanted
    elif loaded.dropout_fields:
        rates = ", ".join(loaded.dropout_fields)
        problem = f"the {kind} model drops out ({rates}), and what examples share would be dropped for all of them"
        found = PACKED
    elif not near(_probe(loaded, PREFIX), packed_TD):
        problem = f"a {kind} model's examples with a common prefix would not have the states of each alone"
        found = PACKED
    else:
        return wanted
    if job.execution.layout == AUTO:
        return LayoutChoice(layout=found, reason=f"not {wanted.layout}: {problem}")
    allowed = ", ".join([PADDED, *([PACKED] if found == PACKED else []), AUTO])
    raise UserError(f"execution.layout={job.execution.layout}: {problem}; allowed here: {allowed}")


def log_choice(choice: LayoutChoice, loaded: LoadedModel, job: TrainingJob, device: torch.device) -> None:
    """Say which layout and which attention kernel the run takes, one line each."""
    logger.info("layout %s: %s", choice.layout, choice.reason)
    if choice.layout == PADDED:
        logger.info("attention: %s, as transformers has it", loaded.model.config._attn_implementation)
    elif has_varlen_kernel(device, _product_dtype(job)):
        logger.info("attention: torch's variable-length kernel over whole rows")
    else:
        short = f"written out up to {MAX_KEYS} tokens, " if serves_on(device, _product_dtype(job)) else ""
        logger.info("attention: %sscaled_dot_product_attention, example by example", short)


def _product_dtype(job: TrainingJob) -> torch.dtype:
    return torch.float32 if job.recipe.precision == "fp32" else torch.bfloat16


def _pack(loaded: LoadedModel) -> Tensor | None:
    """Set the attention of packed rows; the probe's states in one.

    None, with the old attention, where they are not those of each example alone: something beside attention reads
    across the row, or attention is more than ours knows of.
    """
    register()
    before = loaded.model.config._attn_implementation
    if not loaded.model.is_backend_compatible():
        return None
    alone_TD = _probe(loaded, PADDED)
    loaded.model.set_attn_implementation(ROW_ATTENTION)
    with suppress(RowUnknownError):
        packed_TD = _probe(loaded, PACKED)
        if near(packed_TD, alone_TD) and not _attends_across_examples(loaded):
            return packed_TD
    loaded.model.set_attn_implementation(before)
    return None


def _attends_across_examples(loaded: LoadedModel) -> bool:
    """Whether the last example's states have a gradient by another's tokens, however small."""
    placed = place_probe(loaded)
    token_1T, position_1T = (torch.from_numpy(part)[None] for part in (placed.token_F, placed.position_F))
    embedded_1TD = loaded.model.get_input_embeddings()(token_1T).detach().requires_grad_()
    row = make_row(placed.paths, placed.owned, embedded_1TD.device)
    states_TD = hidden_states(loaded.decoder, embedded_1TD, position_1T, row)[0, placed.paths[-1]].float()
    # Weighted, because a norm makes the plain sum a constant.
    weight_D = torch.arange(states_TD.shape[1], dtype=torch.float32).cos()
    (slope_1TD,) = torch.autograd.grad((states_TD @ weight_D).sum(), embedded_1TD)
    return bool(slope_1TD[0, : placed.paths[-1][0]].any())


@torch.no_grad()
def _probe(loaded: LoadedModel, layout: str) -> Tensor:
    """Hidden states of the probe's tokens, one example after the other."""
    placed = place_probe(loaded, layout)
    loaded.model.eval()
    row = None if layout == PADDED else make_row(placed.paths, placed.owned, torch.device("cpu"))
    hidden_FD = hidden_states(
        loaded.decoder,
        torch.from_numpy(placed.token_F.reshape(placed.shape)),
        torch.from_numpy(placed.position_F.reshape(placed.shape)),
        row,
    ).flatten(0, 1)
    return torch.cat([hidden_FD[path] for path in placed.paths])


def place_probe(loaded: LoadedModel, layout: str = PACKED) -> PlacedTokens:
    """The probe's examples, in tokens that the model knows. The model is where it was loaded: on the CPU."""
    ids = loaded.model.get_input_embeddings().num_embeddings
    return place_tokens([np.array(example, dtype=np.int32) % ids for example in PROBE_EXAMPLES], layout)
