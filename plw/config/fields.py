"""What marks a config field: metadata that says whether it is part of a result's identity, and prefixes of paths."""

import dataclasses
from functools import cache
from typing import get_type_hints

EXECUTION = {"execution": True}
"""Field metadata: the field says where and how fast, not what; it stays out of the identity."""

LATER = {"later": True}
"""Field metadata: at its default the field stays out of the identity, because it then changes nothing; so results that
were made before the field existed keep their fingerprints."""

UNTIL_DONE = {"until_done": True}
"""Field metadata: the field decides whether there is a result and not which; an unfinished stage goes on with another
value, and keeps what it has paid for."""

HUB_PREFIX = "hub:"
"""Marks a path as the name of a dataset on the Hugging Face hub."""


@cache
def paths_until_done(schema: type) -> frozenset[str]:
    """The dotted paths of the fields marked UNTIL_DONE, in a schema and in those that it is made of."""
    found, kinds = set(), get_type_hints(schema)
    for item in dataclasses.fields(schema):
        if item.metadata.get("until_done"):
            found.add(item.name)
        kind = kinds[item.name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            found |= {f"{item.name}.{path}" for path in paths_until_done(kind)}
    return frozenset(found)
