"""From a job to a model that can be stepped: loaded, regularised, laid out, wrapped for its processes."""

from dataclasses import dataclass

import torch
from torch import nn

from plw.errors import UserError
from plw.train.attention import PACKED, has_varlen_kernel, register
from plw.train.distribute import ALONE, Group, layers, wrap
from plw.train.gradient import WeightedModel
from plw.train.job import TrainingJob
from plw.train.lora import add_lora
from plw.train.model import LoadedModel, load_model

PACKED_TOKENS = 192
"""Mean tokens of an example from which packed rows are known to be the faster ones on a CPU (docs/benchmarks.md)."""


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
    packed = prefers_packed(job, device) and _pack(loaded, job)
    if job.gradient_checkpointing:
        loaded.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    if job.compile:
        for layer in layers(loaded.decoder):
            layer.compile(dynamic=True)
    weighted = WeightedModel(loaded, precision=recipe.precision, packed=packed, label_smoothing=recipe.label_smoothing)
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


def prefers_packed(job: TrainingJob, device: torch.device) -> bool:
    """Packed where it is asked for; by itself where torch's own variable-length attention runs, or examples are long.

    Without that kernel attention goes example by example, which long examples do not notice.
    """
    if job.layout != "auto":
        return job.layout == "packed"
    if job.recipe.dropout or not job.examples:
        return False
    product = torch.float32 if job.recipe.precision == "fp32" else torch.bfloat16
    tokens = sum(len(example.token_T) for example in job.examples)
    long = device.type == "cpu" and tokens >= PACKED_TOKENS * len(job.examples)
    return has_varlen_kernel(device, product) or long


def _pack(loaded: LoadedModel, job: TrainingJob) -> bool:
    """Give the model the attention of packed rows; False if its tokens would see other examples all the same.

    Raises:
        UserError: they would, and packed rows are what was asked for.
    """
    register()
    before = loaded.model.config._attn_implementation
    if loaded.model.is_backend_compatible():
        loaded.model.set_attn_implementation(PACKED)
        if not _leaks(loaded):
            return True
        loaded.model.set_attn_implementation(before)
    if job.layout == "auto":
        return False
    raise UserError(
        f"execution.layout=packed: the tokens of a {loaded.model.config.model_type} model would see other examples; "
        "allowed here: padded, auto"
    )


@torch.no_grad()
def _leaks(loaded: LoadedModel) -> bool:
    """Whether the second of two packed examples changes with the first."""
    rows, ids = [], loaded.model.get_input_embeddings().num_embeddings
    loaded.model.eval()
    for first in (1, 2):
        token_BT = torch.tensor([[first % ids, first % ids, first % ids, 3 % ids, 4 % ids, 5 % ids, 6 % ids]])
        bound_E = torch.tensor([0, 3, 7], dtype=torch.int32)
        rows.append(
            loaded.decoder(
                input_ids=token_BT,
                position_ids=torch.tensor([[0, 1, 2, 0, 1, 2, 3]]),
                cu_seq_lens_q=bound_E,
                cu_seq_lens_k=bound_E,
                max_length_q=4,
                max_length_k=4,
                use_cache=False,
            ).last_hidden_state[0, 3:]
        )
    return not torch.equal(*rows)
