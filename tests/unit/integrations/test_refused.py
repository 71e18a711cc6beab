"""What would go without effect, or change the loss unseen, is one line before the training begins."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plw.errors import UserError
from plw.integrations import (
    PromptWeightCollator,
    PromptWeightedSFTTrainer,
    PromptWeightedTrainer,
    prompt_weighted_loss,
)
from tests.unit.integrations.token_rows import ROWS, TEXT, TRAINERS, table

# TRL sets fields that transformers warns of.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def stream(rows: list[dict[str, Any]]) -> Any:
    """Columns are not known before a row is read."""
    from datasets import IterableDataset

    return IterableDataset.from_generator(lambda: iter(rows))


def llama(**fields: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(_sizes(LlamaConfig, **fields))


def _sizes(kind: type, **fields: Any) -> Any:
    return kind(
        vocab_size=400, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, **fields
    )


def made(kind: str, folder: Path, model: Any = None, dataset: Any = None, **given: Any) -> Any:
    """A trainer of one of both kinds; ``args`` are added to its arguments."""
    fields = {"report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", **given.pop("args", {})}
    model = llama() if model is None and "model_init" not in given else model
    dataset = table(ROWS) if dataset is None else dataset
    if kind == "trainer":
        from transformers import TrainingArguments

        return PromptWeightedTrainer(model, TrainingArguments(str(folder), **fields), train_dataset=dataset, **given)
    from trl import SFTConfig

    return PromptWeightedSFTTrainer(
        model, SFTConfig(str(folder), max_length=None, **fields), train_dataset=dataset, **given
    )


@pytest.mark.parametrize("kind", TRAINERS)
def test_another_loss_is_refused(kind: str, tmp_path: Path) -> None:
    for given, named in [
        ({"args": {"label_smoothing_factor": 0.1}}, "label_smoothing_factor=0.1"),
        ({"compute_loss_func": lambda outputs, labels, num_items_in_batch=None: 0.0}, "compute_loss_func"),
        ({"factor": "dft"}, "factor='dft' is no FactorConfig.*kind=\"power\""),
    ]:
        with pytest.raises(UserError, match=named):
            made(kind, tmp_path, **given)


@pytest.mark.parametrize("kind", TRAINERS)
def test_arguments_by_place_are_looked_at_too(kind: str, tmp_path: Path) -> None:
    """``compute_loss_func`` is the sixth or the seventh argument after the collator."""
    from transformers import TrainingArguments
    from trl import SFTConfig

    data, loss = table(ROWS), lambda outputs, labels, num_items_in_batch=None: 0.0
    trainer, args, before = {
        "trainer": (PromptWeightedTrainer, TrainingArguments, [None] * 3),
        "sft": (PromptWeightedSFTTrainer, SFTConfig, [None] * 2),
    }[kind]
    with pytest.raises(UserError, match="compute_loss_func"):
        trainer(llama(), args(str(tmp_path), use_cpu=True), None, data, *before, loss)


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_collator_has_the_weights_of_its_trainer(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"prompt_weight=0 of the .* trainer's prompt_weight=0\.3"):
        made(kind, tmp_path, prompt_weight=0.3, data_collator=PromptWeightCollator(pad_token_id=0))
    with pytest.raises(UserError, match=r"response_weight=1 of the .* trainer's response_weight=0\.5"):
        made(kind, tmp_path, response_weight=0.5, data_collator=PromptWeightCollator(pad_token_id=0))


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_collator_that_makes_all_tokens_labels_is_refused(kind: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import DataCollatorForLanguageModeling

    with pytest.raises(UserError, match="makes all tokens labels"):
        made(kind, tmp_path, data_collator=DataCollatorForLanguageModeling(tiny_tokenizer, mlm=False))


def test_a_collator_that_needs_labels_is_refused_without(tiny_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import DataCollatorForSeq2Seq, DataCollatorWithFlattening
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    labelled = [{"input_ids": row["input_ids"], "labels": [-100, -100, *row["input_ids"][2:]]} for row in ROWS]
    for collator in (DataCollatorWithFlattening(), DataCollatorForLanguageModeling(pad_token_id=0)):
        with pytest.raises(UserError, match="columns found: input_ids, completion_mask"):
            made("trainer", tmp_path, data_collator=collator)
        made("trainer", tmp_path, dataset=table(labelled), data_collator=collator)
    trainer = made("trainer", tmp_path, dataset=table(labelled), data_collator=DataCollatorForSeq2Seq(tiny_tokenizer))
    with pytest.raises(UserError, match="no labels and no loss_weights"):
        trainer.compute_loss(trainer.model, {"input_ids": torch.tensor([[1, 2]])})


@pytest.mark.parametrize("kind", TRAINERS)
def test_models_without_the_head_of_a_causal_one_are_refused(kind: str, tmp_path: Path) -> None:
    from transformers import (
        LlamaConfig,
        LlamaForSequenceClassification,
        LlamaModel,
        T5Config,
        T5ForConditionalGeneration,
    )

    t5 = T5Config(vocab_size=64, d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2)
    for model, named in [
        (T5ForConditionalGeneration(t5), "T5ForConditionalGeneration is an encoder-decoder"),
        (LlamaForSequenceClassification(_sizes(LlamaConfig, pad_token_id=0)), "has no head over a vocabulary"),
        (LlamaModel(_sizes(LlamaConfig)), "has no head over a vocabulary"),
    ]:
        with pytest.raises(UserError, match=named):
            made(kind, tmp_path, model)


def test_the_loss_of_a_router_is_refused_while_it_is_on(tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    fields: dict[str, Any] = {"num_key_value_heads": 2, "num_local_experts": 4}
    with pytest.raises(UserError, match="output_router_logits=True"):
        made("trainer", tmp_path, MixtralForCausalLM(_sizes(MixtralConfig, output_router_logits=True, **fields)))
    made("trainer", tmp_path, MixtralForCausalLM(_sizes(MixtralConfig, **fields)))


def test_ligers_loss_is_refused_and_its_layers_are_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fused_linear_cross_entropy"):
        made("trainer", tmp_path, args={"use_liger_kernel": True})
    made(
        "trainer",
        tmp_path,
        args={"use_liger_kernel": True, "liger_kernel_config": {"fused_linear_cross_entropy": False}},
    )


def test_adapters_on_the_head_are_refused(tmp_path: Path) -> None:
    from peft import LoraConfig, TrainableTokensConfig, get_peft_model

    on_head = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "lm_head"])
    inside = llama()
    inside.add_adapter(LoraConfig(target_modules=["q_proj", "lm_head"]))
    tokens = TrainableTokensConfig(task_type="CAUSAL_LM", target_modules=["lm_head"], token_indices=[1])
    for model in (get_peft_model(llama(), on_head), inside, get_peft_model(llama(), tokens)):
        with pytest.raises(UserError, match="names the head, which stays frozen"):
            made("trainer", tmp_path, model)
    with pytest.raises(UserError, match="names the head, which stays frozen"):
        made("sft", tmp_path, inside)


@pytest.mark.parametrize("kind", TRAINERS)
def test_prompts_of_peft_among_the_tokens_are_refused(kind: str, tmp_path: Path) -> None:
    from peft import PromptEncoderConfig, PromptTuningConfig, get_peft_model

    for config in (PromptTuningConfig, PromptEncoderConfig):
        learned = config(task_type="CAUSAL_LM", num_virtual_tokens=4)
        with pytest.raises(UserError, match="puts tokens before each row"):
            made(kind, tmp_path, get_peft_model(llama(), learned))
        if kind == "sft":
            with pytest.raises(UserError, match="puts tokens before each row"):
                made(kind, tmp_path, peft_config=learned)


@pytest.mark.parametrize("source", [table, stream])
def test_any_data_that_do_not_tell_the_prompt_are_refused(source: Any, tiny_tokenizer: Any, tmp_path: Path) -> None:
    given = {"processing_class": tiny_tokenizer, "args": {"max_steps": 1}}
    for fields in (
        {"dataset": source(TEXT)},
        {"eval_dataset": source(TEXT)},
        {"eval_dataset": {"told": source(ROWS), "not": source(TEXT)}},
    ):
        with pytest.raises(UserError, match="columns found: text"):
            made("sft", tmp_path, **fields, **given)
    trainer = made("sft", tmp_path, dataset=source(ROWS), eval_dataset={"told": source(ROWS)}, **given)
    with pytest.raises(UserError, match="columns found: text"):
        trainer.evaluate(source(TEXT))
    assert np.isfinite(trainer.evaluate(source(ROWS))["eval_loss"])


def test_no_row_of_a_stream_is_taken_by_the_checks() -> None:
    from plw.integrations.dataset import checked_for_trl

    taken = []

    def rows() -> Iterator[dict[str, Any]]:
        for row in ROWS:
            taken.append(row)
            yield row

    from datasets import IterableDataset

    checked = checked_for_trl(
        IterableDataset.from_generator(rows), assistant_only=False, weights_are_read=False, is_flat=False
    )
    assert not taken
    assert list(checked) == ROWS


@pytest.mark.parametrize("source", [table, stream])
@pytest.mark.parametrize("field", ["weight", "loss_weight", "loss_scale", "train", "training", "loss", "spans"])
def test_weights_of_messages_are_refused(source: Any, field: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    said: list[dict[str, Any]] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", field: 0}]
    given = {"processing_class": tiny_tokenizer, "args": {"max_steps": 1, "assistant_only_loss": True}}
    with pytest.raises(UserError, match=f"messages in column messages have {field}"):
        made("sft", tmp_path, dataset=source([{"messages": said}] * 2), **given)
    given["args"] = {"max_steps": 1}
    with pytest.raises(UserError, match=f"messages in column completion have {field}"):
        made("sft", tmp_path, dataset=source([{"prompt": said[:1], "completion": said[1:]}] * 2), **given)


@pytest.mark.parametrize("kind", TRAINERS)
def test_weights_of_tokens_that_nobody_reads_are_refused(kind: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import DataCollatorForSeq2Seq

    weighted = table([{**row, "token_weights": [1.0, 1.0, 0.5, 0.5, 0.5]} for row in ROWS])
    with pytest.raises(UserError, match=r"token_weights, which transformers\.DataCollatorForSeq2Seq does not read"):
        made(kind, tmp_path, dataset=weighted, data_collator=DataCollatorForSeq2Seq(tiny_tokenizer))
    if kind == "trainer":
        return
    for args in ({}, {"packing": True}, {"padding_free": True}):
        with pytest.raises(UserError, match="TRL's collator and its packing do not read"):
            made(kind, tmp_path, dataset=weighted, args=args)
    with pytest.raises(UserError, match="token_weights but no input_ids"):
        made(
            kind,
            tmp_path,
            dataset=table([{"prompt": "a", "completion": "b", "token_weights": [1.0, 1.0]}]),
            data_collator=PromptWeightCollator(pad_token_id=0),
        )


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ([1.0, -0.5], "token_weights has -0.5 at token 1"),
        ([1.0, None], "token_weights has None at token 1"),
        (["0.5", "1"], "token_weights has '0.5' at token 0"),
        ([True, False], "are true and false"),
        ("ab", "token_weights is 'ab'"),
        ([[1.0], [1.0]], "2 axes"),
        ([1.0], "2 input_ids but 1 token_weights"),
    ],
    ids=str,
)
def test_weights_of_tokens_are_numbers_of_0_or_more(weights: Any, named: str) -> None:
    with pytest.raises(UserError, match=named):
        PromptWeightCollator(pad_token_id=0)(
            [{"input_ids": [1, 2], "completion_mask": [0, 1], "token_weights": weights}]
        )


@pytest.mark.parametrize(
    ("mask", "named"),
    [
        ([1, 0, 1], "attention_mask is 0 at token 1, between others"),
        ([0, 0, 0], "is 0 at every token"),
        ([1, 1], "3 input_ids but 2 attention_mask"),
    ],
    ids=str,
)
def test_a_mask_of_a_row_marks_padding_alone(mask: list[int], named: str) -> None:
    with pytest.raises(UserError, match=named):
        PromptWeightCollator(pad_token_id=0)(
            [{"input_ids": [1, 2, 3], "completion_mask": [0, 1, 1], "attention_mask": mask}]
        )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompt_weight": "0.1"}, "prompt_weight='0.1' is no number"),
        ({"prompt_weight": True}, "prompt_weight=True is no number"),
        ({"response_weight": -1.0}, "response_weight=-1"),
        ({"pad_token_id": None}, "pad_token_id=None is no token"),
    ],
)
def test_a_collators_mistakes_are_told_when_it_is_made(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        PromptWeightCollator(**{"pad_token_id": 0, **fields})


def test_the_loss_takes_tensors_of_the_same_rows_and_tokens() -> None:
    logits, ids, weights = torch.zeros(2, 4, 9), torch.ones(2, 4, dtype=torch.int64), torch.ones(2, 4)
    for given, named in [
        ((logits, ids, weights[:, 1:]), r"weights are \[2, 3\] and input_ids \[2, 4\]"),
        ((logits, ids, weights[:1]), r"weights are \[1, 4\] and input_ids \[2, 4\]"),
        ((logits[:, 1:], ids, weights), r"logits are \[2, 3, 9\] and input_ids \[2, 4\]"),
        ((logits.flatten(0, 1), ids, weights), r"logits are \[8, 9\] and input_ids \[2, 4\]"),
        ((logits, ids[0], weights[0]), r"input_ids \[4\]"),
        ((logits, ids, "1"), "weights is str"),
    ]:
        with pytest.raises(UserError, match=named):
            prompt_weighted_loss(*given, 3)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no FactorConfig"):
        prompt_weighted_loss(logits, ids, weights, 3, factor="dft")  # type: ignore[arg-type]
