"""Parts of a known model that are written out here, and proof by a probe that they compute what the model's own do."""

import logging

import numpy as np
import torch
from torch import Tensor

from plw.train.batching.last_rows import LastRows, find_last_rows
from plw.train.batching.packed_row import make_row
from plw.train.batching.placement import PlacedTokens
from plw.train.layout_choice import place_probe
from plw.train.model.fused import fuse, unfuse
from plw.train.model.head import near
from plw.train.model.last_layer import has_known_last_layer, shorten, undo_shortening
from plw.train.model.load import LoadedModel
from plw.train.model.parallel import layers
from plw.train.model.weighted import hidden_states

logger = logging.getLogger(__name__)

PROBE_PREDICTING = ([3], [2, 4], [2], [1, 2, 4])
"""Places in each of them that predict, for the last layer's probe; the first of the last one does not."""


def shorten_last_layer(loaded: LoadedModel, layout: str) -> str | None:
    """Let the last layer compute the tokens that predict alone, where a probe shows that this changes nothing.

    Returns:
        None, or why it computes all tokens.
    """
    kind = loaded.model.config.model_type
    if not has_known_last_layer(loaded):
        return f"the layers of a {kind} model are not written out here"
    if loaded.dropout_fields:
        return f"the {kind} model drops out ({', '.join(loaded.dropout_fields)})"
    placed, last = _probe_rows(loaded, layout)
    expected = _states_and_slopes(loaded, placed, last, shortened=False)
    shorten(loaded)
    found = _states_and_slopes(loaded, placed, last, shortened=True)
    if all(near(one, other) for one, other in zip(found, expected, strict=True)):
        return None
    undo_shortening(loaded)
    return f"the last layer of this {kind} model is not what it is written out as here"


def fuse_layers(loaded: LoadedModel, layout: str) -> str | None:
    """Fuse norms and feed-forwards of a known family, where a probe shows that this changes nothing.

    Returns:
        None, or why they are the model's own.
    """
    kind = loaded.model.config.model_type
    placed, last = _probe_rows(loaded, layout)
    expected = _states_and_slopes(loaded, placed, last, shortened=False)
    changed = fuse(loaded.model)
    if not changed:
        return f"those of a {kind} model are not written out here"
    found = _states_and_slopes(loaded, placed, last, shortened=False)
    if all(near(one, other) for one, other in zip(found, expected, strict=True)):
        return None
    unfuse(changed)
    return f"those of this {kind} model are not what they are written out as here"


def log_written_out(whole_last_layer: str | None, unfused: str | None) -> None:
    """Say which parts of the model are written out, one line each."""
    if whole_last_layer is None:
        logger.info("last layer: without the tokens that predict nothing")
    else:
        logger.info("last layer: whole, since %s", whole_last_layer)
    if unfused is None:
        logger.info("norms and feed-forwards: fused, on a CPU")
    else:
        logger.info("norms and feed-forwards: the model's own, since %s", unfused)


def _probe_rows(loaded: LoadedModel, layout: str) -> tuple[PlacedTokens, LastRows]:
    """The probe's examples, of whose tokens some predict."""
    placed = place_probe(loaded, layout)
    predicting = [path[places] for path, places in zip(placed.paths, PROBE_PREDICTING, strict=True)]
    last = find_last_rows(placed, np.unique(np.concatenate(predicting)), torch.device("cpu"))
    assert last is not None
    return placed, last


def _states_and_slopes(loaded: LoadedModel, placed: PlacedTokens, last: LastRows, *, shortened: bool) -> list[Tensor]:
    """The predicting tokens' states, and the gradients of a number made of them by the input and the last layer."""
    loaded.model.eval()
    token_BT = torch.from_numpy(placed.token_F.reshape(placed.shape))
    embedded_BTD = loaded.model.get_input_embeddings()(token_BT).detach().requires_grad_()
    position_BT, row = None, None
    if not placed.padded:
        position_BT = torch.from_numpy(placed.position_F.reshape(placed.shape))
        row = make_row(placed.paths, placed.owned, embedded_BTD.device)
    states_BTD = hidden_states(loaded.decoder, embedded_BTD, position_BT, row, last if shortened else None)
    states_UD = states_BTD[0] if shortened else states_BTD.flatten(0, 1)[last.place_U]
    weight_UD = torch.arange(states_UD.numel(), dtype=torch.float32).cos().view_as(states_UD)
    leaves = [embedded_BTD, *(p for p in layers(loaded.decoder)[-1].parameters() if p.requires_grad)]
    slopes = torch.autograd.grad((states_UD.float() * weight_UD).sum(), leaves)
    return [states_UD.detach(), slopes[0], torch.cat([slope.flatten() for slope in slopes[1:]])]
