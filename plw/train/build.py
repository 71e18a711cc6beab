"""From a job to a model that can be stepped: loaded, regularised, laid out, wrapped for its processes."""

from dataclasses import dataclass

import torch
from torch import nn

from plw.launch.group import ALONE, Group
from plw.train.job import TrainingJob
from plw.train.layout_choice import log_choice, preferred_layout, set_layout
from plw.train.model.check import check_data_fits, fix_rotary_frequencies
from plw.train.model.generation import add_end_tokens
from plw.train.model.load import LoadedModel, dropout_off, load_model
from plw.train.model.lora import add_lora, check_lora
from plw.train.model.parallel import layers, parallelize
from plw.train.model.save import check_saving
from plw.train.model.weighted import WeightedModel
from plw.train.preference.model import PreferenceModel
from plw.train.written_out import fuse_layers, log_written_out, shorten_last_layer


@dataclass(frozen=True, kw_only=True)
class PreparedModel:
    """The model, with its loss, and as its processes see it."""

    loaded: LoadedModel
    weighted: WeightedModel
    wrapper: nn.Module
    sharded: bool
    """Whether each process holds a part of every trained tensor."""

    def release(self) -> None:
        """Give the memory of weights and gradients back, whoever still holds the object; a group's goes with it."""
        if self.wrapper is self.weighted:
            self.loaded.model.zero_grad(set_to_none=True)
            self.loaded.model.to("meta")


def prepare_model(job: TrainingJob, device: torch.device, group: Group = ALONE) -> PreparedModel:
    """Load and set up the job's model on ``device``.

    Raises:
        UserError: a model that cannot be loaded, or that lacks what the job asks of it.
    """
    recipe, loaded = job.recipe, _load(job)
    _check(loaded, job, group)
    check_lora(recipe, job.execution)
    if recipe.lora_rank is not None:
        loaded = add_lora(loaded, recipe)
    choice = set_layout(loaded, job, preferred_layout(job, device))
    # A compiler fuses by itself, and stops at what is fused already.
    unfused = "they are compiled" if job.execution.compile else fuse_layers(loaded, choice.layout)
    whole_last_layer = shorten_last_layer(loaded, choice.layout)
    if group.is_rank0:
        log_choice(choice, loaded, job, device)
        log_written_out(whole_last_layer, unfused)
    if job.execution.gradient_checkpointing:
        loaded.model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    if job.execution.compile:
        for layer in layers(loaded.decoder):
            layer.compile(dynamic=True)
    weighted = (WeightedModel if job.beta is None else PreferenceModel)(
        loaded,
        precision=recipe.precision,
        layout=choice.layout,
        label_smoothing=recipe.label_smoothing,
        factor=job.loss.factor,
        shorten_last_layer=whole_last_layer is None,
    )
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


def _load(job: TrainingJob) -> LoadedModel:
    dropout = job.recipe.dropout
    if job.beta is not None:
        # The frozen model reads without dropout, so the trained one does too.
        dropout = dropout_off(job.model, revision=job.revision, trust_remote_code=job.trust_remote_code)
    loaded = load_model(
        job.model,
        job.tokenizer,
        revision=job.revision,
        trust_remote_code=job.trust_remote_code,
        dtype=torch.bfloat16 if job.recipe.precision == "bf16" else torch.float32,
        dropout=dropout,
        pad=job.pad,
    )
    add_end_tokens(loaded.model, job.end_tokens)
    return loaded


def _check(loaded: LoadedModel, job: TrainingJob, group: Group) -> None:
    """What would fail, or go wrong in silence, after the first step."""
    examples = [*job.examples, *job.held_out]
    check_data_fits(loaded, examples)
    fix_rotary_frequencies(loaded, max((len(example.token_T) for example in examples), default=0))
    if group.is_rank0:
        check_saving(loaded)
