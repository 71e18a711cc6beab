"""Rows to train on that several tests share: tokens that say which of them are completion, and a text alone."""

from typing import Any

TRAINERS = ["trainer", "sft"]
ROWS = [{"input_ids": [5 + i, 6, 7, 8, 9], "completion_mask": [0, 0, 1, 1, 1]} for i in range(4)]
TEXT = [{"text": "Add 1 and 2. 3"}] * 4


def table(rows: list[dict[str, Any]]) -> Any:
    """A dataset of datasets', whose import takes a while."""
    from datasets import Dataset

    return Dataset.from_list(rows)
