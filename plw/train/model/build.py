"""From a job to a model that can be stepped: loaded, regularised, laid out, wrapped for its processes."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from plw.errors import UserError
from plw.launch.group import ALONE, Group
from plw.train.batching.collate import PlacedTokens, place_tokens
from plw.train.batching.layout import PACKED, PADDED, PREFIX
from plw.train.batching.packed_row import make_row
from plw.train.job import TrainingJob
from plw.train.model.attention import ROW_ATTENTION, RowUnknownError, has_varlen_kernel, register
from plw.train.model.head import TOLERANCE
from plw.train.model.load import LoadedModel, load_model
from plw.train.model.lora import add_lora
from plw.train.model.parallel import layers, parallelize
from plw.train.model.weighted import WeightedModel, hidden_states

ROW_TOKENS = 48
"""Mean tokens of an example from which one row is known to be faster than padded ones on a CPU (docs/benchmarks.md)."""

PROBE = ([1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2, 7], [8, 9, 10, 11, 12])
"""Examples by which a layout is tried out: some begin alike, and none ends alike."""


@dataclass(frozen=True, kw_only=True)
class PreparedModel:
    """The model, with its loss, and as its processes see it."""

    loaded: LoadedModel
    weighted: WeightedModel
    wrapper: nn.Module
    sharded: bool
    """Whether each process holds a part of every trained tensor."""


def prepare_model(job: TrainingJob, device: torch.device, group: Group = ALONE) -> PreparedModel:
    """Load and set up the job's model on ``device``.

    Raises:
        UserError: a model that cannot be loaded, or that lacks what the job asks of it.
    """
    recipe = job.recipe
    loaded = load_model(
        job.model,
        job.tokenizer,
        revision=job.revision,
        trust_remote_code=job.trust_remote_code,
        dtype=torch.bfloat16 if recipe.precision == "bf16" else torch.float32,
        dropout=recipe.dropout,
    )
    if recipe.lora_rank is not None:
        if group.size > 1 and job.execution.sharding == "fsdp":
            raise UserError(
                f"recipe.lora_rank={recipe.lora_rank} with several processes needs execution.sharding=ddp, found fsdp"
            )
        loaded = add_lora(loaded, recipe)
    layout = _set_layout(loaded, job, preferred_layout(job, device))
    if job.execution.gradient_checkpointing:
        loaded.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    if job.execution.compile:
        for layer in layers(loaded.decoder):
            layer.compile(dynamic=True)
    weighted = WeightedModel(loaded, precision=recipe.precision, layout=layout, label_smoothing=recipe.label_smoothing)
    wrapper: nn.Module = weighted
    if group.size > 1:
        mixed = recipe.precision == "bf16-mixed"
        wrapper = parallelize(
            weighted, decoder=loaded.decoder, sharding=job.execution.sharding, device=device, mixed=mixed
        )
    else:
        weighted.to(device)
    wrapper.train()
    return PreparedModel(
        loaded=loaded, weighted=weighted, wrapper=wrapper, sharded=group.size > 1 and job.execution.sharding == "fsdp"
    )


def preferred_layout(job: TrainingJob, device: torch.device) -> str:
    """What is asked for; by itself shared where torch's own variable-length attention runs, and on a CPU.

    Without that kernel attention goes example by example: on a CPU only short examples notice, on a GPU all do.
    """
    if job.execution.layout != "auto":
        return job.execution.layout
    if job.recipe.dropout or not job.examples:
        return PADDED
    product = torch.float32 if job.recipe.precision == "fp32" else torch.bfloat16
    tokens = sum(len(example.token_T) for example in job.examples)
    enough = device.type == "cpu" and tokens >= ROW_TOKENS * len(job.examples)
    return PREFIX if has_varlen_kernel(device, product) or enough else PADDED


def _set_layout(loaded: LoadedModel, job: TrainingJob, wanted: str) -> str:
    """Give the model the attention of the wanted layout, or of the next best in which its hidden states are right.

    Raises:
        UserError: they are not in the layout that was asked for.
    """
    if wanted == PADDED:
        return PADDED
    kind = loaded.model.config.model_type
    packed_TD = _pack(loaded)
    if packed_TD is None:
        problem = f"in one row the tokens of a {kind} model would not be what they are in each example alone"
        found = PADDED
    elif wanted == PACKED:
        return PACKED
    elif loaded.dropout_fields:
        rates = ", ".join(loaded.dropout_fields)
        problem = f"the {kind} model drops out ({rates}), and what examples share would be dropped for all of them"
        found = PACKED
    elif not _near(_probe(loaded, PREFIX), packed_TD):
        problem = f"a {kind} model's examples with a common prefix would not have the states of each alone"
        found = PACKED
    else:
        return PREFIX
    if job.execution.layout == "auto":
        return found
    allowed = ", ".join([PADDED, *([PACKED] if found == PACKED else []), "auto"])
    raise UserError(f"execution.layout={job.execution.layout}: {problem}; allowed here: {allowed}")


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
        if _near(packed_TD, alone_TD) and not _attends_across_examples(loaded):
            return packed_TD
    loaded.model.set_attn_implementation(before)
    return None


def _attends_across_examples(loaded: LoadedModel) -> bool:
    """Whether the last example's states have a gradient by another's tokens, however small."""
    placed = _place_probe(loaded)
    token_1T, position_1T = (torch.from_numpy(part)[None] for part in (placed.token_F, placed.position_F))
    embedded_1TD = loaded.model.get_input_embeddings()(token_1T).detach().requires_grad_()
    row = make_row(placed.paths, placed.owned, embedded_1TD.device)
    states_TD = hidden_states(loaded.decoder, embedded_1TD, position_1T, row)[0, placed.paths[-1]].float()
    # Weighted, because a norm makes the plain sum a constant.
    weight_D = torch.arange(states_TD.shape[1], dtype=torch.float32).cos()
    (slope_1TD,) = torch.autograd.grad((states_TD @ weight_D).sum(), embedded_1TD)
    return bool(slope_1TD[0, : placed.paths[-1][0]].any())


def _near(states_TD: Tensor, expected_TD: Tensor) -> bool:
    """Equal to rounding."""
    return bool((states_TD - expected_TD).norm() <= TOLERANCE[expected_TD.dtype] * expected_TD.norm())


@torch.no_grad()
def _probe(loaded: LoadedModel, layout: str) -> Tensor:
    """Hidden states of the probe's tokens, one example after the other."""
    placed = _place_probe(loaded, layout)
    loaded.model.eval()
    row = None if layout == PADDED else make_row(placed.paths, placed.owned, torch.device("cpu"))
    hidden_FD = hidden_states(
        loaded.decoder,
        torch.from_numpy(placed.token_F.reshape(placed.shape)),
        torch.from_numpy(placed.position_F.reshape(placed.shape)),
        row,
    ).flatten(0, 1)
    return torch.cat([hidden_FD[path] for path in placed.paths])


def _place_probe(loaded: LoadedModel, layout: str = PACKED) -> PlacedTokens:
    """The probe's examples, in tokens that the model knows. The model is where it was loaded: on the CPU."""
    ids = loaded.model.get_input_embeddings().num_embeddings
    return place_tokens([np.array(example, dtype=np.int32) % ids for example in PROBE], layout)
