"""The embedded world: a small set of invented facts, the texts about it, and base models that have read them."""

from plw.world.builder import build
from plw.world.packaged import packaged_bases
from plw.world.store import folder, world_fingerprint

__all__ = ["build", "folder", "packaged_bases", "world_fingerprint"]
