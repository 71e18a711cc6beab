"""A trained model in memory: loaded once, shared by the harness, the generations and the diagnostics."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.errors import UserError
from plw.evaluate.quiet import quiet

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from plw.evaluate.models.hf import Generation

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class EvalModel:
    """A causal language model in evaluation mode and its tokenizer, which has a padding token."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    device: "torch.device"

    @property
    def context_length(self) -> int:
        """Tokens that the model can attend to, prompt and answer together."""
        length = getattr(self.model.config, "max_position_embeddings", None)
        return int(length) if length else int(self.tokenizer.model_max_length)

    def for_harness(self, batch_size: int) -> Any:
        """lm-eval's wrapper of a transformers model that is already loaded."""
        from lm_eval.models.huggingface import HFLM

        return HFLM(pretrained=self.model, tokenizer=self.tokenizer, batch_size=batch_size)

    def answer(self, prompts: "Sequence[str]", **how: Any) -> "list[Generation]":
        """Answers to prompts, in their order; ``how`` as :func:`plw.evaluate.models.hf.generate` takes it."""
        from plw.evaluate.models.hf import generate

        return generate(self, prompts, **how)


def load(folder: Path, device: str = "cpu", dtype: str = "float32", *, safetensors_only: bool = True) -> EvalModel:
    """Load a ``save_pretrained`` folder; weights are read from safetensors.

    A tokenizer without a padding token pads with its end-of-sequence token, which the attention mask hides.

    Args:
        folder: The model's folder, with its tokenizer.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        safetensors_only: Off, weights that exist as torch's pickles only are read by its restricted reader, which
            makes tensors and runs nothing.

    Raises:
        UserError: the folder is missing, or holds no model or tokenizer that transformers can read.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json; this is not the folder of a saved model")
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype} is not known; allowed: {', '.join(DTYPES)}")
    try:
        with quiet("transformers"):
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
            model: Any = AutoModelForCausalLM.from_pretrained(
                str(folder),
                dtype=getattr(torch, dtype),
                use_safetensors=True if safetensors_only else None,
                weights_only=True,
                local_files_only=True,
            )
    except (OSError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{folder}: the model cannot be loaded ({reason})") from None
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise UserError(f"{folder}: the tokenizer has neither a padding nor an end-of-sequence token")
        tokenizer.pad_token = tokenizer.eos_token
    placed = torch.device(device)
    model.to(placed)
    model.eval()
    return EvalModel(model=model, tokenizer=tokenizer, device=placed)
