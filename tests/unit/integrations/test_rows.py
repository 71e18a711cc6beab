"""Rows and batches that could be read in two ways: other labels, masks that are none, several examples in one row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from plw.errors import UserError
from plw.integrations import PromptWeightCollator, PromptWeightedSFTTrainer
from plw.integrations.dataset import checked_for_trl
from plw.integrations.weighting import BatchWeighting

# TRL sets fields that transformers warns of.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

IDS, MASK, LABELS = [5, 6, 7, 8], [0, 0, 1, 1], [-100, -100, 7, 8]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"labels": [-100, -100, 7, 9]}, "labels have 9 at token 3, where its input_ids have 8"),
        ({"labels": [-100, 7, 8, -100]}, "labels have 7 at token 1, where its input_ids have 6"),
        ({"labels": IDS, "completion_mask": MASK}, "disagree at token 0"),
        ({"completion_mask": [0, 0, 0.5, 1]}, "completion_mask has 0.5 at token 2; allowed: 0 and 1"),
        ({"labels": LABELS, "assistant_masks": [0, 0, 0, 1]}, "assistant_masks and labels disagree at token 2"),
        ({"completion_mask": MASK, "attention_mask": [1, 1, 2, 2]}, "attention_mask has 2 at token 2"),
        ({"completion_mask": MASK, "position_ids": [0, 1, 0, 1]}, "position_ids have 0 at token 2"),
    ],
    ids=str,
)
def test_rows_that_can_be_read_in_two_ways_are_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        PromptWeightCollator(pad_token_id=0)([{"input_ids": IDS, **fields}])


def test_rows_that_say_the_same_twice_are_read() -> None:
    collator = PromptWeightCollator(pad_token_id=0, prompt_weight=0.5)
    (expected,) = collator([{"input_ids": IDS, "completion_mask": MASK}])["loss_weights"]
    for fields in (
        {"labels": LABELS, "completion_mask": MASK},
        {"labels": LABELS, "completion_mask": None},
        {"assistant_masks": MASK},
        {"assistant_masks": [1, 0, 1, 1], "completion_mask": [0, 1, 1, 1]},
        {"completion_mask": [False, False, True, True], "position_ids": [0, 1, 2, 3]},
        {"completion_mask": [0.0, 0.0, 1.0, 1.0], "attention_mask": [True] * 4},
    ):
        assert collator([{"input_ids": IDS, **fields}])["loss_weights"].tolist() == [expected.tolist()]
    padded = {"input_ids": [0, *IDS], "labels": [-100, *LABELS], "attention_mask": [0, 1, 1, 1, 1]}
    assert collator([{**padded, "position_ids": [9, 0, 1, 2, 3]}])["loss_weights"].tolist() == [expected.tolist()]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"labels": IDS, "completion_mask": MASK}, "disagree at token 0"),
        ({"completion_mask": [0.0, 0.0, 0.5, 1.0]}, "completion_mask has 0.5 at token 2"),
        ({"completion_mask": MASK, "seq_lengths": [2, 2]}, "seq_lengths, of rows of several examples"),
    ],
    ids=str,
)
def test_trls_data_are_looked_at_too(fields: dict[str, Any], named: str, stream: bool) -> None:
    from datasets import Dataset, IterableDataset

    rows = [{"input_ids": IDS, **fields}]
    dataset = IterableDataset.from_generator(lambda: iter(rows)) if stream else Dataset.from_list(rows)
    with pytest.raises(UserError, match=named):
        list(checked_for_trl(dataset, assistant_only=False, weights_are_read=False, is_flat=False))


def batch(**fields: Any) -> dict[str, Any]:
    given = {"input_ids": torch.tensor([IDS]), "labels": torch.tensor([LABELS]), **fields}
    return {name: torch.tensor(value) if isinstance(value, list) else value for name, value in given.items()}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"labels": [[-100, 7, 8, -100]]}, "labels have 7 in row 0 at token 1, where input_ids have 6"),
        ({"cu_seq_lens_q": [0, 2, 4]}, "cu_seq_lens_q but no position_ids"),
        ({"seq_idx": [[0, 0, 1, 1]]}, "seq_idx but no position_ids"),
        ({"position_ids": [[[0, 1, 2, 3]]] * 3}, "position_ids has 3 axes"),
    ],
    ids=str,
)
def test_batches_of_other_collators_are_looked_at(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        BatchWeighting(prompt_weight=0.5).step_total([batch(**fields)])


def test_a_rows_first_token_is_predicted_by_nothing_whatever_its_position() -> None:
    weighting = BatchWeighting(prompt_weight=0.5)
    given = batch(position_ids=[[7, 8, 9, 10]], attention_mask=[[1, 1, 1, 1]])
    assert weighting.step_weights(given).tolist() == [[0.0, 0.5, 1.0, 1.0]]
    assert weighting.step_total([given]) == 3


def sft(folder: Path, tokenizer: Any, *, args: dict[str, Any], **given: Any) -> Any:
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    return PromptWeightedSFTTrainer(
        LlamaForCausalLM(LlamaConfig(vocab_size=400, **sizes)),
        SFTConfig(str(folder), **{"report_to": "none", "use_cpu": True, "bf16": False, "max_length": 16, **args}),
        train_dataset=Dataset.from_list([{"input_ids": IDS, "completion_mask": MASK}] * 4),
        processing_class=tokenizer,
        prompt_weight=0.3,
        **given,
    )


@pytest.mark.parametrize(
    ("args", "given", "named"),
    [
        ({"packing": True, "packing_strategy": "wrapped"}, {"scope": "example"}, "packing_strategy=wrapped"),
        ({"packing": True, "pad_to_multiple_of": 64}, {"scope": "example"}, "pad_to_multiple_of=64"),
        ({"eval_packing": True}, {}, "eval_packing=True without packing"),
        ({}, {"formatting_func": str}, "formatting_func makes texts"),
    ],
    ids=str,
)
def test_rows_of_trl_without_the_bounds_of_examples_are_refused(
    args: dict[str, Any], given: dict[str, Any], named: str, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=named):
        sft(tmp_path, tiny_tokenizer, args=args, **given)


def test_each_dataset_of_an_evaluation_is_packed_once(tiny_tokenizer: Any, tmp_path: Path) -> None:
    from datasets import Dataset

    trainer = sft(tmp_path, tiny_tokenizer, args={"packing": True})
    data: Callable[[], Any] = lambda: Dataset.from_list(  # noqa: E731
        [{"input_ids": [9 + i, 8, 7, 6, 5 + i], "completion_mask": [0, 0, 1, 1, 1]} for i in range(3)]
    )
    alone = trainer.evaluate(data())["eval_loss"]
    assert trainer.evaluate({"held_out": data()})["eval_held_out_loss"] == pytest.approx(alone, rel=1e-6)
