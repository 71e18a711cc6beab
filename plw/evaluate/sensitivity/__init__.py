"""Prompt sensitivity: how much the likelihood of an answer moves when its prompt is put in other words."""

from plw.evaluate.sensitivity.posix import posix_index, posix_index_as_released

__all__ = ["posix_index", "posix_index_as_released"]
