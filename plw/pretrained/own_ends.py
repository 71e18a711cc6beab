"""The tokens with which a model ends an answer by its own account, for those who train it and those who ask it."""

from typing import Any


def own_ends(generation_config: Any) -> list[int]:
    """Its ``eos_token_id`` as a list; none where it has no such field, or there is no config."""
    ends = getattr(generation_config, "eos_token_id", None)
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
