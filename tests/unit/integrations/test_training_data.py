"""Data that nothing can be trained on are one line before the training begins."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plw.errors import UserError
from plw.integrations import PromptWeightedSFTTrainer, PromptWeightedTrainer
from tests.unit.integrations.token_rows import ROWS, TEXT, TRAINERS, table

# TRL sets fields that transformers warns of.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def made(
    kind: str, folder: Path, model: Path, dataset: Any, *, args: dict[str, Any] | None = None, **given: Any
) -> Any:
    """A trainer of one of both kinds."""
    from transformers import AutoModelForCausalLM, TrainingArguments
    from trl import SFTConfig

    settings, trainer = (
        (TrainingArguments, PromptWeightedTrainer) if kind == "trainer" else (SFTConfig, PromptWeightedSFTTrainer)
    )
    fields = {"report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", **(args or {})}
    loaded = AutoModelForCausalLM.from_pretrained(model)
    return trainer(loaded, settings(str(folder), **fields), train_dataset=dataset, **given)


@pytest.mark.parametrize("kind", TRAINERS)
def test_what_is_no_data_to_train_on_is_refused(
    kind: str, tiny_llama: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    from datasets import DatasetDict

    splits = DatasetDict(train=table(ROWS), test=table(ROWS))
    with pytest.raises(UserError, match=r"train_dataset is a dict of datasets \(train, test\); give one of them"):
        made(kind, tmp_path, tiny_llama, splits, processing_class=tiny_tokenizer)
    with pytest.raises(UserError, match="train_dataset has no row to train on"):
        made(kind, tmp_path, tiny_llama, table(ROWS).select([]), processing_class=tiny_tokenizer)


def test_a_length_that_leaves_no_completion_is_named(tiny_llama: Path, tiny_tokenizer: Any, tmp_path: Path) -> None:
    rows = table([{"prompt": "Name colour number 1.", "completion": " It is red."}] * 2)
    with pytest.raises(UserError, match="no row to train on: max_length=2 leaves none"):
        made("sft", tmp_path, tiny_llama, rows, processing_class=tiny_tokenizer, args={"max_length": 2})


def test_texts_are_no_data_of_the_trainer(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the data have no input_ids \(columns found: text\); give tokens with"):
        made("trainer", tmp_path, tiny_llama, table(TEXT))
    lazy = table(TEXT).with_transform(lambda batch: {key: [row[key] for row in ROWS[:1]] for key in ROWS[0]})
    args = {"remove_unused_columns": False, "max_steps": 1, "per_device_train_batch_size": 1}
    assert np.isfinite(made("trainer", tmp_path, tiny_llama, lazy, args=args).train().training_loss)


@pytest.mark.parametrize("collator", ["DataCollatorForSeq2Seq", "DataCollatorWithPadding"])
def test_a_collator_that_does_not_read_masks_is_refused(
    collator: str, tiny_llama: Path, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    import transformers

    given = getattr(transformers, collator)(tiny_tokenizer)
    with pytest.raises(UserError, match=rf"the data have completion_mask, which transformers.{collator} does not read"):
        made("trainer", tmp_path, tiny_llama, table(ROWS), data_collator=given)
