"""A model's generation config: mended where transformers would refuse to save it, with the ends that are learned."""

import logging
from collections.abc import Sequence
from typing import Any

from plw.pretrained.own_ends import own_ends

logger = logging.getLogger(__name__)


def repair_generation_config(path: str, model: Any) -> None:
    """Make the generation config one that can be saved, and say what was changed.

    Many models on the hub have sampling parameters there without ``do_sample``. transformers loads such a file and
    refuses to save it. The project decodes by its suite's settings and reads the special tokens alone, so what is
    changed here changes no result.

    Args:
        path: of the model, for the message.
        model: its ``generation_config`` is changed in place.
    """
    from transformers import GenerationConfig

    config = model.generation_config
    if config is None or (problem := _problem(config)) is None:
        return
    if not config.do_sample:
        config.do_sample = True
        if _problem(config) is None:
            logger.warning("%s: generation_config.json samples without do_sample; saved with do_sample=true", path)
            return
    tokens = {name: value for name, value in config.to_dict().items() if name.endswith("_token_id")}
    model.generation_config = GenerationConfig(**tokens)  # type: ignore[no-untyped-call]
    logger.warning("%s: generation_config.json cannot be saved (%s); only its special tokens are kept", path, problem)


def add_end_tokens(model: Any, tokens: Sequence[int]) -> None:
    """Let generation stop at the tokens that the training puts after each answer, beside those that the model has.

    A base model's own end is that of a text (``<|endoftext|>``), its chat template's that of a turn (``<|im_end|>``).

    Args:
        model: its ``generation_config`` is changed in place; what is saved of the model has it.
        tokens: ids.
    """
    from transformers import GenerationConfig

    if model.generation_config is None:
        model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    ends = own_ends(model.generation_config)
    new = [token for token in tokens if token not in ends]
    if new:
        model.generation_config.eos_token_id = ends + new


def _problem(config: Any) -> str | None:
    """What transformers finds wrong with it when it is saved, in one line."""
    try:
        config.validate(strict=True)
    except ValueError as error:
        return " ".join(str(error).split())
    return None
