"""A model's generation config, mended where transformers would refuse to save it."""

import logging
from typing import Any

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


def _problem(config: Any) -> str | None:
    """What transformers finds wrong with it when it is saved, in one line."""
    try:
        config.validate(strict=True)
    except ValueError as error:
        return " ".join(str(error).split())
    return None
