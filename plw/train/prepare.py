"""From a job to a model that can be stepped: loaded, regularised, laid out, wrapped for its processes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from plw.errors import UserError
from plw.train.attention import ROW_ATTENTION, RowUnknownError, has_varlen_kernel, register
from plw.train.batch import place_tokens
from plw.train.distribute import ALONE, Group, layers, wrap
from plw.train.gradient import WeightedModel, hidden_states
from plw.train.head import TOLERANCE
from plw.train.job import TrainingJob
from plw.train.layout import PACKED, PADDED, SHARED
from plw.train.lora import add_lora
from plw.train.model import LoadedModel, load_model
from plw.train.row import make_row

ROW_TOKENS = 48
"""Mean tokens of an example from which one row is known to be faster than padded ones on a CPU (docs/benchmarks.md)."""


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
        if group.size > 1 and job.sharding == "fsdp":
            raise UserError(
                f"recipe.lora_rank={recipe.lora_rank} with several processes needs execution.sharding=ddp, found fsdp"
            )
        loaded = add_lora(loaded, recipe)
    layout = _set_layout(loaded, job, preferred_layout(job, device))
    if job.gradient_checkpointing:
        loaded.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    if job.compile:
        for layer in layers(loaded.decoder):
            layer.compile(dynamic=True)
    weighted = WeightedModel(loaded, precision=recipe.precision, layout=layout, label_smoothing=recipe.label_smoothing)
    wrapper: nn.Module = weighted
    if group.size > 1:
        mixed = recipe.precision == "bf16-mixed"
        wrapper = wrap(weighted, decoder=loaded.decoder, sharding=job.sharding, device=device, mixed=mixed)
    else:
        weighted.to(device)
    wrapper.train()
    return PreparedModel(
        loaded=loaded, weighted=weighted, wrapper=wrapper, sharded=group.size > 1 and job.sharding == "fsdp"
    )


def preferred_layout(job: TrainingJob, device: torch.device) -> str:
    """What is asked for; by itself shared where torch's own variable-length attention runs, and on a CPU.

    Without that kernel attention goes example by example: on a CPU only short examples notice, on a GPU all do.
    """
    if job.layout != "auto":
        return job.layout
    if job.recipe.dropout or not job.examples:
        return PADDED
    product = torch.float32 if job.recipe.precision == "fp32" else torch.bfloat16
    tokens = sum(len(example.token_T) for example in job.examples)
    enough = device.type == "cpu" and tokens >= ROW_TOKENS * len(job.examples)
    return SHARED if has_varlen_kernel(device, product) or enough else PADDED


def _set_layout(loaded: LoadedModel, job: TrainingJob, wanted: str) -> str:
    """Give the model the attention of the wanted layout, or of the next best that its gradients are right in.

    Raises:
        UserError: there they would not be right, and it is what was asked for.
    """
    if wanted == PADDED:
        return PADDED
    what = f"execution.layout={job.layout}: "
    kind = loaded.model.config.model_type
    if not _packs(loaded):
        if job.layout == "auto":
            return PADDED
        raise UserError(f"{what}the tokens of a {kind} model would see other examples; allowed here: padded, auto")
    if wanted == PACKED:
        return PACKED
    if loaded.dropout_fields:
        rates = ", ".join(loaded.dropout_fields)
        problem = f"the {kind} model drops out ({rates}), and what examples share would be dropped for all of them"
    elif not _shares(loaded):
        problem = f"the tokens of a {kind} model would not be what they are in each example alone"
    else:
        return SHARED
    if job.layout == "auto":
        return PACKED
    raise UserError(f"{what}{problem}; allowed here: padded, packed, auto")


def _packs(loaded: LoadedModel) -> bool:
    """Set the attention of packed rows; False, and the old one, if examples would see each other all the same."""
    register()
    before = loaded.model.config._attn_implementation
    if not loaded.model.is_backend_compatible():
        return False
    loaded.model.set_attn_implementation(ROW_ATTENTION)
    try:
        # Whether the second of two packed examples changes with the first.
        states = [_probe(loaded, [[first] * 3, [3, 4, 5, 6]], PACKED)[1] for first in (1, 2)]
    except RowUnknownError:
        states = []
    if states and torch.equal(*states):
        return True
    loaded.model.set_attn_implementation(before)
    return False


def _shares(loaded: LoadedModel) -> bool:
    """Whether examples that begin alike have the hidden states that each has where they stand apart."""
    examples = [[1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2, 7]]
    together, apart = (torch.cat(_probe(loaded, examples, layout)) for layout in (SHARED, PACKED))
    return bool((together - apart).norm() <= TOLERANCE[apart.dtype] * apart.norm())


@torch.no_grad()
def _probe(loaded: LoadedModel, examples: list[list[int]], layout: str) -> list[Tensor]:
    """Hidden states of each example's tokens, in one row."""
    ids = loaded.model.get_input_embeddings().num_embeddings
    places = place_tokens([np.array(example, dtype=np.int32) % ids for example in examples], layout)
    loaded.model.eval()
    device = loaded.head_weight_VD.device
    hidden_1TD = hidden_states(
        loaded.decoder,
        torch.from_numpy(places.token_F).to(device)[None],
        torch.from_numpy(places.position_F).to(device)[None],
        make_row(places.paths, places.owned, device),
    )
    return [hidden_1TD[0, path] for path in places.paths]
