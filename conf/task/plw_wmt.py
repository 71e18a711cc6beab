"""The data of the `plw_wmt*` tasks: what the WMT sets call validation and test, scored together as in the PLW paper."""

from collections.abc import Mapping
from typing import Any

PARTS = ("validation", "test")


def validation_and_test(*, root: str, pair: str, data_files: Mapping[str, str] | None = None, **_: Any) -> Any:
    """A dataset whose split `test`, which is scored, is validation and then test.

    Args:
        root: Folder of the parquet files, on the hub or here; those of the training set, gigabytes, are not touched.
        pair: The language pair, a folder below `root`.
        data_files: Split -> JSON or JSONL file to read instead; validation may be left out.
    """
    import datasets

    from plw.evaluate.lm_eval.tasks import read_splits

    if data_files:
        splits = read_splits(data_files)
    else:
        splits = datasets.load_dataset(
            "parquet", data_files={part: f"{root}/{pair}/{part}-*.parquet" for part in PARTS}
        )
    parts = {part: splits[part].select_columns(["translation"]) for part in PARTS if part in splits}
    return datasets.DatasetDict({**parts, "test": datasets.concatenate_datasets(list(parts.values()))})
