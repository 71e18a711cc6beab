"""What marks a config field: metadata that says whether it is part of a result's identity, and prefixes of paths."""

EXECUTION = {"execution": True}
"""Field metadata: the field says where and how fast, not what; it stays out of the identity."""

LATER = {"later": True}
"""Field metadata: at its default the field stays out of the identity, because it then changes nothing; so results that
were made before the field existed keep their fingerprints."""

HUB_PREFIX = "hub:"
"""Marks a path as the name of a dataset on the Hugging Face hub."""
