"""A base model, tried out before the first cell: what would end a cell's training ends the command in one line."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plw.config.training import ModelConfig
from plw.data.tokenizer import load_tokenizer
from plw.train.model.check import position_limit
from plw.train.model.load import load_config, load_model
from plw.train.model.lora import check_targets
from plw.train.model.save import check_saving

logger = logging.getLogger(__name__)

PROBED_BYTES = 2**31
"""Weights that are loaded for a trial at most; a larger model's folder is looked at, and the rest is asked by its first
cell, on the machine that trains it."""


def probe_model(location: str, model: ModelConfig, lora_targets: Sequence[str] = ()) -> int | None:
    """Look at the model's folder; load the model if it is small, see that it is causal, and save it without weights.

    Of a model on the hub the config alone is looked at.

    Args:
        location: folder or hub name.
        model: its config.
        lora_targets: the layers that LoRA is asked for; none where all are, or no LoRA.

    Returns:
        Tokens of an example at most, where the model has a table of positions; None where it has none, or where it was
        not loaded.

    Raises:
        UserError: it cannot be trained; the line has the folder, the cause and a remedy.
    """
    folder = Path(location)
    where: dict[str, Any] = {"revision": model.revision, "trust_remote_code": model.trust_remote_code}
    load_config(location, **where)
    if not folder.is_dir():
        return None
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if size > PROBED_BYTES:
        logger.info("%s: %.1f GiB of weights, loaded by its first cell only", location, size / 2**30)
        return None
    loaded = load_model(location, load_tokenizer(location, **where), pad=model.pad, **where)
    check_saving(loaded)
    check_targets(loaded, lora_targets)
    return position_limit(loaded)
