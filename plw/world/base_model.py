"""The base models of the embedded world: their names, their shapes, and the folder that transformers loads."""

from pathlib import Path
from typing import TYPE_CHECKING

from plw.config.world import BaseModelConfig, WorldConfig
from plw.data.tokenizer import save_tokenizer

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

PLAN = "pretraining.json"
"""What a base model's own process reads: the config, in the folder of the world that is being made."""
ARCHITECTURES = ("wide", "deep")
MLP_STANDARD_DEVIATION = 0.03
"""Small at first, against 1/sqrt(hidden) elsewhere: wide attention finds translation soon, narrow MLPs learn facts that
questions in another wording can reach. With one value for both, one of the two does not come in the steps there are."""


def base_names(config: WorldConfig) -> list[str]:
    """``wide-1``, ``deep-1``, ``wide-2`` and so on: as many of each architecture as the config has."""
    return [f"{architecture}-{number + 1}" for number in range(config.bases) for architecture in ARCHITECTURES]


def base_shape(config: WorldConfig, name: str) -> BaseModelConfig:
    """The shape of the base model of that name."""
    return {"wide": config.wide, "deep": config.deep}[name.partition("-")[0]]


def mlp_width(shape: BaseModelConfig) -> int:
    """Width of the MLP."""
    return shape.hidden * 8 // 3 // 8 * 8


def make_base_model(shape: BaseModelConfig, tokenizer: "PreTrainedTokenizerBase") -> "LlamaForCausalLM":
    """A Llama with fresh weights; the caller seeds torch."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        intermediate_size=mlp_width(shape),
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=tokenizer.model_max_length,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=padding,
        initializer_range=shape.hidden**-0.5,
    )
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if ".mlp." in name:
            torch.nn.init.normal_(parameter, std=MLP_STANDARD_DEVIATION)
    return model


def save_base_model(model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerBase", target: Path) -> None:
    """Write model and tokenizer to a folder that transformers loads."""
    model.eval()  # type: ignore[no-untyped-call]
    model.generation_config.update(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(target)
    save_tokenizer(tokenizer, target)
