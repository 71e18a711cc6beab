"""The model under training: loaded in fp32 with a padding token, taken apart into decoder and head, saved whole."""

import copy
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from plw.errors import UserError
from plw.train.model.head import check_head, head_options

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PADDING = "[PAD]"
"""Stanford Alpaca's name for the padding token that it adds where there is none."""

NO_DROPOUT = ("classifier", "summary", "layerdrop")
"""Parts of names of config fields that speak of dropout which a causal language model does not have."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A causal language model in two parts: hidden states come from ``decoder``, the loss is taken on ``head``."""

    model: Any
    """A transformers PreTrainedModel; its classes are built at run time, so their types say little."""
    decoder: nn.Module
    head: nn.Module
    tokenizer: "PreTrainedTokenizerBase"
    """A copy of the caller's, with a padding token."""
    head_options: dict[str, Any] = field(default_factory=dict)
    """What the head does beside one matrix product, in the words of the fused loss."""
    dropout_fields: list[str] = field(default_factory=list)
    """The config's dropout rates above 0."""
    own_fields: dict[str, Any] = field(default_factory=dict)
    """Fields of the model's config that training changed, as they were: put back in the saved model."""
    adapter: Any = None
    """The peft model around ``model`` where LoRA is trained."""

    @property
    def pad_id(self) -> int:
        """The padding token."""
        return int(self.tokenizer.pad_token_id)

    @property
    def head_weight_VD(self) -> Tensor:
        """[vocabulary, width]; the embedding itself where the two are tied."""
        weight = self.head.weight
        assert isinstance(weight, Tensor)
        return weight

    @property
    def head_bias_V(self) -> Tensor | None:
        """[vocabulary], or None."""
        bias: Tensor | None = getattr(self.head, "bias", None)
        return bias


def load_model(
    path: str,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dtype: torch.dtype = torch.float32,
    dropout: float | None = None,
) -> LoadedModel:
    """Load a causal language model with torch's own attention, or transformers' plain one where that is all it has.

    Where the tokenizer has no padding token, [PAD] is added as Stanford Alpaca adds it: new embedding rows, of input
    and output, are the mean of the old ones.

    Args:
        path: folder or hub name.
        tokenizer: the model's; a copy is kept.
        revision: hub revision.
        trust_remote_code: run code that comes with the model.
        dtype: of the weights.
        dropout: rate for every dropout that the architecture has; its own rates if None.

    Raises:
        UserError: nothing that can be loaded there, weights that are missing in it, a head that is not
            supported, or no dropout to set.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    where = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        with no_progress_bars():
            config: Any = AutoConfig.from_pretrained(path, **where)
            own_fields = _set_dropout(path, config.get_text_config(), dropout)
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **where
            )
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no model can be loaded from here ({_one_line(error)})") from None
    model, info = loaded
    if info["missing_keys"]:
        raise UserError(f"{path}: the weights file lacks {', '.join(sorted(info['missing_keys'])[:3])}")
    check_head(path, model)
    tokenizer = copy.deepcopy(tokenizer)
    _add_padding(model, tokenizer)
    return LoadedModel(
        model=model,
        decoder=model.get_decoder(),
        head=model.get_output_embeddings(),
        tokenizer=tokenizer,
        head_options=head_options(model.config.get_text_config()),
        dropout_fields=[name for name, rate in _dropouts(model.config.get_text_config()).items() if rate],
        own_fields=own_fields,
    )


def save_model(loaded: LoadedModel, folder: Path, *, tensors: dict[str, Tensor] | None = None) -> None:
    """Write safetensors, tokenizer and generation config to ``folder``, which is whole or absent at any moment.

    A LoRA update is merged into the weights first. ``tensors`` stand in for the model's own where those are spread
    over processes.
    """
    temporary, old = folder.with_name(f".{folder.name}.tmp"), folder.with_name(f".{folder.name}.old")
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    model = loaded.model if loaded.adapter is None else loaded.adapter.merge_and_unload()
    for name, value in loaded.own_fields.items():
        setattr(model.config.get_text_config(), name, value)
    with no_progress_bars():
        model.save_pretrained(temporary, **({} if tensors is None else {"state_dict": tensors}))
    loaded.tokenizer.save_pretrained(temporary)
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _set_dropout(path: str, config: Any, rate: float | None) -> dict[str, Any]:
    """Set every dropout rate of a config; the values before."""
    if rate is None:
        return {}
    before = _dropouts(config)
    if not before:
        raise UserError(
            f"recipe.dropout={rate:g}: {path} is a {config.model_type} model, whose config has no dropout field; "
            "allowed here: null"
        )
    for name in before:
        setattr(config, name, rate)
    return before


def _dropouts(config: Any) -> dict[str, Any]:
    """A config's dropout rates by field."""
    return {
        name: value
        for name, value in sorted(config.to_dict().items())
        if "drop" in name and isinstance(value, int | float) and not any(word in name for word in NO_DROPOUT)
    }


def _add_padding(model: Any, tokenizer: "PreTrainedTokenizerBase") -> None:
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": PADDING})
    old_rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > old_rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
            with torch.no_grad():
                embedding.weight[old_rows:] = embedding.weight[:old_rows].mean(dim=0)
                if getattr(embedding, "bias", None) is not None:
                    embedding.bias[old_rows:] = embedding.bias[:old_rows].mean()
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Let transformers load and save without drawing bars over ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
