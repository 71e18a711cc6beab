"""The last decoder layer for the tokens that predict something: of the others it computes keys and values alone.

A hidden state of the last layer is read by the head and by no other token. Where its token has no coefficient, its
query, attention, feed-forward and gradient are work for nothing; leaving them out is exact.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor

from plw.train.batching.last_rows import LastRows
from plw.train.model.attention import padded_attention, row_attention
from plw.train.model.load import LoadedModel
from plw.train.model.parallel import layers

KNOWN = ("Gemma", "Gemma2", "Gemma3", "Llama", "Mistral", "Qwen2", "Qwen3")
"""Families in transformers whose layer is written out below. Another may look the same on a probe's few tokens and
scale its queries by their position far behind them."""


def has_known_last_layer(loaded: LoadedModel) -> bool:
    """Whether the last layer is of a family that is written out below."""
    layer = layers(loaded.decoder)[-1]
    attention = getattr(layer, "self_attn", None)
    names = [(f"{family}DecoderLayer", f"{family}Attention") for family in KNOWN]
    return (type(layer).__name__, type(attention).__name__) in names and all(
        type(module).__module__.startswith("transformers.models.") for module in (layer, attention)
    )


def shorten(loaded: LoadedModel) -> None:
    """Teach the last layer and its attention the argument ``last_rows``; without it they are what they were.

    Their parts are called as modules, so that what wraps these (FSDP, LoRA) sees the call. Gradient checkpointing
    leaves a shortened layer alone: as the last one it would be computed again at once, and save nothing.
    """
    layer: Any = layers(loaded.decoder)[-1]
    layer.forward = MethodType(_layer, layer)
    layer.self_attn.forward = MethodType(_attention, layer.self_attn)


def undo_shortening(loaded: LoadedModel) -> None:
    """Undo :func:`shorten`."""
    layer: Any = layers(loaded.decoder)[-1]
    del layer.forward, layer.self_attn.forward


def _layer(self: Any, hidden_states: Tensor, *arguments: Any, last_rows: LastRows | None = None, **named: Any) -> Any:
    """Llama's layer, or Gemma's with norms behind attention and feed-forward: [B, T, width] -> [1, U, width]."""
    if last_rows is None:
        return type(self).forward(self, hidden_states, *arguments, **named)
    attended_1UD, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), last_rows=last_rows, **named)
    hidden_1UD = _picked(hidden_states, last_rows.place_U)
    if hasattr(self, "pre_feedforward_layernorm"):
        hidden_1UD = hidden_1UD + self.post_attention_layernorm(attended_1UD)
        return hidden_1UD + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(hidden_1UD)))
    hidden_1UD = hidden_1UD + attended_1UD
    return hidden_1UD + self.mlp(self.post_attention_layernorm(hidden_1UD))


def _attention(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    *arguments: Any,
    last_rows: LastRows | None = None,
    **named: Any,
) -> Any:
    """Grouped attention with rotary positions, of the queries that are asked for: [B, T, width] -> [1, U, width]."""
    if last_rows is None or position_embeddings is None:
        return type(self).forward(self, hidden_states, position_embeddings, *arguments, **named)

    def heads(projected_BTD: Tensor) -> Tensor:
        return projected_BTD.view(*projected_BTD.shape[:2], -1, self.head_dim)

    query_BQHD = heads(self.q_proj(hidden_states.index_select(1, last_rows.query_Q)))
    key_BTHD, value_BTHD = heads(self.k_proj(hidden_states)), heads(self.v_proj(hidden_states))
    if hasattr(self, "q_norm"):
        query_BQHD, key_BTHD = self.q_norm(query_BQHD), self.k_norm(key_BTHD)
    angles = [part.index_select(1, last_rows.query_Q) for part in position_embeddings]
    parts = (
        _rotated(query_BQHD.transpose(1, 2), *angles),
        _rotated(key_BTHD.transpose(1, 2), *position_embeddings),
        value_BTHD.transpose(1, 2),
    )
    how: dict[str, Any] = {
        "scaling": self.scaling,
        "sliding_window": getattr(self, "sliding_window", getattr(self.config, "sliding_window", None)),
        # Gemma 3 has the field and does not read it.
        "softcap": self.attn_logit_softcapping if "Gemma2" in type(self).__name__ else None,
    }
    if last_rows.row is None:
        attended_BQHD = padded_attention(*parts, **how)
    else:
        attended_BQHD, _ = row_attention(self, *parts, None, packed_row=last_rows.row, **how)
    return self.o_proj(_picked(attended_BQHD.flatten(2), last_rows.output_U)), None


def _rotated(states_BHTD: Tensor, cos_1TD: Tensor, sin_1TD: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864), halves against halves, as transformers has them."""
    first, second = states_BHTD.chunk(2, dim=-1)
    return states_BHTD * cos_1TD[:, None] + torch.cat([-second, first], dim=-1) * sin_1TD[:, None]


def _picked(states_BTD: Tensor, chosen_U: Tensor | None) -> Tensor:
    """Some of the flattened tokens' states, or all, as one row."""
    states_FD = states_BTD.flatten(0, 1)
    return (states_FD if chosen_U is None else states_FD.index_select(0, chosen_U))[None]
