"""The model under training: loaded in fp32 with a padding token, and taken apart into decoder and head."""

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from plw.errors import UserError, shortened
from plw.pretrained.model_folder import kind_problem
from plw.train.model.causal import check_causal
from plw.train.model.generation import repair_generation_config
from plw.train.model.head import check_head, head_options
from plw.train.model.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ADDED_PADDING = "[PAD]"
"""Stanford Alpaca's name for the padding token that it adds where there is none."""

NEW_ROW, EOS = "new_row", "eos"
"""What pads where the tokenizer has no padding token: a new one, or the end of a text."""

NO_DROPOUT = ("classifier", "summary", "layerdrop")
"""Parts of names of config fields that speak of dropout which a causal language model does not have."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A causal language model in two parts: hidden states come from ``decoder``, the loss is taken on ``head``."""

    path: str
    """Where it came from."""
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
    pad: str = NEW_ROW,
) -> LoadedModel:
    """Load a causal language model with torch's own attention, or transformers' plain one where that is all it has.

    Where the tokenizer has no padding token, [PAD] is added as Stanford Alpaca adds it: new embedding rows, of input
    and output, are the mean of the old ones. Or EOS serves as one, and nothing is added.

    Args:
        path: folder or hub name.
        tokenizer: the model's; a copy is kept.
        revision: hub revision.
        trust_remote_code: run code that comes with the model.
        dtype: of the weights.
        dropout: rate for every dropout that the architecture has; its own rates if None.
        pad: ``new_row`` or ``eos``: what pads where the tokenizer has no padding token.

    Raises:
        UserError: nothing that can be loaded there, weights that are missing in it or of other sizes, a kind of model
            or a head that is not supported, attention that looks ahead, or no dropout to set.
    """
    where = {"revision": revision, "trust_remote_code": trust_remote_code}
    config = load_config(path, **where)
    own_fields = _set_dropout(path, config.get_text_config(), dropout)
    model = _load_weights(path, config, dtype, **where)
    check_head(path, model)
    check_causal(path, model)
    repair_generation_config(path, model)
    tokenizer = copy.deepcopy(tokenizer)
    _add_padding(path, model, tokenizer, pad)
    _freeze_other_parts(model)
    return LoadedModel(
        path=path,
        model=model,
        decoder=model.get_decoder(),
        head=model.get_output_embeddings(),
        tokenizer=tokenizer,
        head_options=head_options(model.config.get_text_config()),
        dropout_fields=[name for name, rate in _dropouts(model.config.get_text_config()).items() if rate],
        own_fields=own_fields,
    )


def dropout_off(path: str, **where: Any) -> float | None:
    """The ``dropout`` with which a model is loaded without any: 0, or None where its config has no rate to set."""
    return 0.0 if _dropouts(load_config(path, **where).get_text_config()) else None


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


def load_config(path: str, **where: Any) -> Any:
    """A model's config, of a kind that can be trained.

    Raises:
        UserError: it cannot be read, or is of another kind: encoder-decoder, quantised.
    """
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(path, **where)
    except Exception as error:
        raise _loading_error(path, error) from None
    if problem := kind_problem(config.to_dict()):
        raise UserError(f"{path}: {problem}")
    return config


def _load_weights(path: str, config: Any, dtype: torch.dtype, **where: Any) -> Any:
    """The model, with every weight there and of its config's size."""
    from transformers import AutoModelForCausalLM

    try:
        with quiet_transformers():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                path,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                # Told below, with the sizes.
                ignore_mismatched_sizes=True,
                **where,
            )
    except MemoryError:
        raise
    except Exception as error:
        raise _loading_error(path, error) from None
    model, info = loaded
    for name, found, expected in sorted(info["mismatched_keys"]):
        raise UserError(
            f"{path}: {name} is of size {list(found)} in the weights, but of {list(expected)} by config.json; the two "
            "are not of one model: fetch both anew"
        )
    if info["missing_keys"]:
        raise UserError(f"{path}: the weights file lacks {shortened(', '.join(sorted(info['missing_keys'])), 160)}")
    return model


def _loading_error(path: str, error: Exception) -> UserError:
    """Transformers' reason in one line, behind the remedy, where one is known."""
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason:
        return UserError(
            f"{path}: this model brings its own code, which is not run unless its config says so; read the code, then "
            "set model.trust_remote_code=true"
        )
    return UserError(f"{path}: no model can be loaded from here ({type(error).__name__}: {shortened(reason, 300)})")


def _add_padding(path: str, model: Any, tokenizer: "PreTrainedTokenizerBase", pad: str) -> None:
    if tokenizer.pad_token is None:
        if pad == EOS:
            if tokenizer.eos_token is None:
                raise UserError(f"model.pad=eos: the tokenizer of {path} has no EOS; allowed here: new_row")
            tokenizer.pad_token = tokenizer.eos_token
        else:
            tokenizer.add_special_tokens({"pad_token": ADDED_PADDING})
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


def _freeze_other_parts(model: Any) -> None:
    """Parts that no text goes through, such as a tower for images, are saved as they were loaded."""
    trained = {id(p) for part in (model.get_decoder(), model.get_output_embeddings()) for p in part.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in trained)
