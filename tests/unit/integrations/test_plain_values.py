"""Trainers beside a plain computation row by row: copies and adapters of models, weights of tokens, empty steps."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plw.integrations import PromptWeightCollator, PromptWeightedSFTTrainer, PromptWeightedTrainer
from tests.unit.integrations.token_rows import table

# TRL sets fields that transformers warns of.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

WEIGHTS = [[1.0, 0.5, 2.0, 0.0, 1.0, 0.25], [1.0, 1.0, 1.0, 3.0], [1.0, 0.0, 0.5, 1.0, 1.0]]
"""A number for each token of three rows."""
ROWS: list[dict[str, Any]] = [
    {
        "input_ids": [10 * place + 3 + token for token in range(len(weights))],
        "completion_mask": [0, 0] + [1] * (len(weights) - 2),
        "token_weights": weights,
    }
    for place, weights in enumerate(WEIGHTS)
]


def llama(seed: int = 0) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=400, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    )


def unweighted(rows: list[dict[str, Any]]) -> Any:
    return table(rows).remove_columns("token_weights")


def arguments(kind: str, folder: Path, **more: Any) -> dict[str, Any]:
    """``args`` of a trainer whose one step has all rows and that does not move."""
    fields = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 0.0,
        "max_grad_norm": 0.0,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **more,
    }
    if kind == "trainer":
        from transformers import TrainingArguments

        return {"args": TrainingArguments(**fields)}
    from trl import SFTConfig

    return {"args": SFTConfig(**{"max_length": None, "gradient_checkpointing": False, **fields})}


def trained_gradient(trainer: Any) -> tuple[dict[str, Tensor], float]:
    """The gradient of the one step by the parameters' names, and its loss."""
    from transformers import TrainerCallback

    found: dict[str, Tensor] = {}

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            assert not found
            for name, parameter in kwargs["model"].named_parameters():
                if parameter.grad is not None:
                    found[name] = parameter.grad.clone()

    trainer.add_callback(Keep())
    return found, trainer.train().training_loss


def plain_loss(model: Any, rows: list[dict[str, Any]], prompt_weight: float, total: float | None = None) -> Tensor:
    """Sum of w CE over the predicted tokens, divided by how many have a w that is not 0."""
    parts, counted = [], 0
    for row in rows:
        log_p_TV = model(input_ids=torch.tensor([row["input_ids"]])).logits[0].log_softmax(dim=1)
        for token in range(1, len(row["input_ids"])):
            weight = row["token_weights"][token] * (1.0 if row["completion_mask"][token] else prompt_weight)
            counted += weight != 0
            parts.append(-weight * log_p_TV[token - 1, row["input_ids"][token]])
    return torch.stack(parts).sum() / (counted if total is None else total)


def plain_gradient(model: Any, rows: list[dict[str, Any]], prompt_weight: float) -> tuple[dict[str, Tensor], float]:
    loss = plain_loss(model, rows, prompt_weight)
    loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, loss.item()


def assert_same(found: tuple[dict[str, Tensor], float], expected: tuple[dict[str, Tensor], float]) -> None:
    assert found[1] == pytest.approx(expected[1], rel=1e-5)
    assert found[0].keys() == expected[0].keys()
    for name, gradient in expected[0].items():
        assert float((found[0][name] - gradient).norm()) <= 1e-5 * float(gradient.norm()), name


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["trainer", "sft"])
def test_weights_of_tokens_are_those_of_the_data(kind: str, packed: bool, tiny_tokenizer: Any, tmp_path: Path) -> None:
    trainer = (PromptWeightedTrainer if kind == "trainer" else PromptWeightedSFTTrainer)(
        llama(),
        data_collator=PromptWeightCollator(pad_token_id=0, prompt_weight=0.3, padding_free=packed),
        train_dataset=table(ROWS),
        processing_class=tiny_tokenizer,
        prompt_weight=0.3,
        **arguments(kind, tmp_path),
    )
    assert_same(trained_gradient(trainer), plain_gradient(llama(), ROWS, 0.3))


def padded(row: dict[str, Any], before: int, after: int) -> dict[str, Any]:
    """A row as a tokenizer pads it, with labels in place of a mask of completions."""
    labels = [
        token if of_completion else -100
        for token, of_completion in zip(row["input_ids"], row["completion_mask"], strict=True)
    ]
    return {
        "input_ids": [7] * before + row["input_ids"] + [7] * after,
        "labels": [-100] * before + labels + [-100] * after,
        "token_weights": [1.0] * before + row["token_weights"] + [1.0] * after,
        "attention_mask": [0] * before + [1] * len(labels) + [0] * after,
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("source", ["trainer", "sft", "sft of TRL's collator"])
def test_padding_of_rows_is_no_prompt(source: str, stream: bool, tiny_tokenizer: Any, tmp_path: Path) -> None:
    from datasets import IterableDataset

    rows = [padded(row, before, 9 - before) for row, before in zip(ROWS, (0, 4, 9), strict=True)]
    expected, collator = ROWS, PromptWeightCollator(pad_token_id=0, prompt_weight=0.3)
    if source == "sft of TRL's collator":
        rows = [{name: values for name, values in row.items() if name != "token_weights"} for row in rows]
        expected = [{**row, "token_weights": [1.0] * len(row["input_ids"])} for row in ROWS]
    trainer = (PromptWeightedTrainer if source == "trainer" else PromptWeightedSFTTrainer)(
        llama(),
        data_collator=None if source == "sft of TRL's collator" else collator,
        train_dataset=IterableDataset.from_generator(lambda: iter(rows)) if stream else table(rows),
        processing_class=tiny_tokenizer,
        prompt_weight=0.3,
        **arguments("trainer" if source == "trainer" else "sft", tmp_path, **({"max_steps": 1} if stream else {})),
    )
    assert_same(trained_gradient(trainer), plain_gradient(llama(), expected, 0.3))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["keep_start", "keep_end"])
def test_weights_of_tokens_are_cut_with_their_rows(
    mode: str, stream: bool, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    from datasets import IterableDataset

    kept = slice(None, 4) if mode == "keep_start" else slice(-4, None)
    cut = [{name: values[kept] for name, values in row.items()} for row in ROWS]
    trainer = PromptWeightedSFTTrainer(
        llama(),
        data_collator=PromptWeightCollator(pad_token_id=0, prompt_weight=0.3),
        train_dataset=IterableDataset.from_generator(lambda: iter(ROWS)) if stream else table(ROWS),
        processing_class=tiny_tokenizer,
        prompt_weight=0.3,
        **arguments("sft", tmp_path, max_length=4, truncation_mode=mode, max_steps=1),
    )
    assert_same(trained_gradient(trainer), plain_gradient(llama(), cut, 0.3))


@pytest.mark.parametrize("normalizer", ["nonzero", "weights", "completion"])
@pytest.mark.parametrize("scope", ["batch", "example"])
@pytest.mark.parametrize("kind", ["trainer", "sft"])
def test_a_step_or_batch_whose_total_is_0_is_worth_0(
    kind: str, scope: str, normalizer: str, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """Prompts alone, which have a weight; or, where tokens with a weight count, one token that nothing predicts."""
    prompts = [{"input_ids": [3, 4, 5], "completion_mask": [0, 0, 0]}] * 2
    nothing = [{"input_ids": [3], "completion_mask": [1]}] * 2
    empty = unweighted([{**row, "token_weights": None} for row in (prompts if normalizer == "completion" else nothing)])
    trainer = (PromptWeightedTrainer if kind == "trainer" else PromptWeightedSFTTrainer)(
        llama(),
        train_dataset=empty,
        processing_class=tiny_tokenizer,
        prompt_weight=0.3,
        normalizer=normalizer,
        scope=scope,
        **arguments(kind, tmp_path),
    )
    gradient, loss = trained_gradient(trainer)
    assert loss == 0
    assert all(not values.any() for values in gradient.values())
    assert trainer.evaluate(empty)["eval_loss"] == 0


def test_a_micro_batch_of_prompts_has_the_total_of_its_step(tiny_tokenizer: Any, tmp_path: Path) -> None:
    """Z counts completions of the step: prompts of a micro-batch without any still count."""
    rows = [
        {"input_ids": [3, 4, 5], "completion_mask": [0, 0, 0], "token_weights": [1.0] * 3},
        {"input_ids": [6, 7, 8, 9], "completion_mask": [0, 0, 1, 1], "token_weights": [1.0] * 4},
    ]
    trainer = PromptWeightedSFTTrainer(
        llama(),
        train_dataset=unweighted(rows),
        processing_class=tiny_tokenizer,
        prompt_weight=0.3,
        normalizer="completion",
        **arguments("sft", tmp_path, per_device_train_batch_size=1, gradient_accumulation_steps=2),
    )
    model = llama()
    plain_loss(model, rows, 0.3, total=2).backward()
    found, _ = trained_gradient(trainer)
    for name, parameter in model.named_parameters():
        assert float((found[name] - parameter.grad).norm()) <= 1e-5 * float(parameter.grad.norm()), name


def test_a_routers_loss_is_added_as_trl_adds_it(tiny_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import MixtralConfig, MixtralForCausalLM
    from trl import SFTTrainer

    def mixtral(coefficient: float) -> Any:
        torch.manual_seed(0)
        config = MixtralConfig(
            vocab_size=400,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            num_local_experts=4,
            output_router_logits=True,
            router_aux_loss_coef=coefficient,
        )
        return MixtralForCausalLM(config)

    given = {"train_dataset": unweighted(ROWS), "processing_class": tiny_tokenizer}
    theirs = SFTTrainer(
        mixtral(0.5), **given, **arguments("sft", tmp_path, completion_only_loss=False, router_aux_loss_coef=0.5)
    )
    ours, without = (
        PromptWeightedSFTTrainer(
            mixtral(coefficient),
            prompt_weight=1.0,
            **given,
            **arguments("sft", tmp_path, router_aux_loss_coef=coefficient),
        )
        for coefficient in (0.5, 0.0)
    )
    expected = trained_gradient(theirs)
    assert_same(trained_gradient(ours), expected)
    assert trained_gradient(without)[1] < expected[1] - 0.1


def trainer_of(model: Any, folder: Path, **more: Any) -> PromptWeightedTrainer:
    collator = PromptWeightCollator(pad_token_id=0, prompt_weight=0.3)
    return PromptWeightedTrainer(
        model,
        data_collator=collator,
        train_dataset=table(ROWS),
        prompt_weight=0.3,
        **more,
        **arguments("trainer", folder),
    )


def test_a_copy_of_the_model_computes_with_its_own_weights(tmp_path: Path) -> None:
    from torch.optim.swa_utils import AveragedModel

    trainer = trainer_of(llama(), tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    expected = trainer.model(input_ids=ids).logits
    copies = [copy.deepcopy(trainer.model), AveragedModel(trainer.model)]
    batch = dict(trainer.data_collator(ROWS))
    loss = trainer.compute_loss(trainer.model, dict(batch)).item()
    for parameter in trainer.model.parameters():
        parameter.data.zero_()
    for kept in copies:
        assert torch.equal(kept(input_ids=ids).logits, expected)
        assert trainer.compute_loss(kept, dict(batch)).item() == loss
    assert not trainer.model(input_ids=ids).logits.any()


def test_each_model_of_model_init_has_the_weighted_loss(tmp_path: Path) -> None:
    made: list[Any] = []

    def model_init() -> Any:
        made.append(llama(seed=7))
        return made[-1]

    trainer = trainer_of(None, tmp_path, model_init=model_init)
    assert_same(trained_gradient(trainer), plain_gradient(llama(seed=7), ROWS, 0.3))
    assert len(made) == 2
    assert trainer.model is made[1]


def _adapted(name: str) -> Any:
    from peft import LoraConfig, PrefixTuningConfig, get_peft_model

    lora = functools.partial(LoraConfig, task_type="CAUSAL_LM", target_modules=["q_proj"], init_lora_weights=False)
    configs: dict[str, Callable[[], Any]] = {
        "lora": lora,
        "saved head": lambda: lora(modules_to_save=["lm_head"]),
        "tokens of the head": lambda: lora(trainable_token_indices={"lm_head": [5, 6]}),
        "tokens of the input": lambda: lora(trainable_token_indices={"embed_tokens": [5, 6]}),
        "prefix": lambda: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    }
    model = llama()
    torch.manual_seed(1)
    return get_peft_model(model, configs[name]())


@pytest.mark.parametrize("name", ["lora", "saved head", "tokens of the head", "tokens of the input", "prefix"])
def test_adapters_that_are_allowed_have_their_gradient(name: str, tmp_path: Path) -> None:
    assert_same(trained_gradient(trainer_of(_adapted(name), tmp_path)), plain_gradient(_adapted(name), ROWS, 0.3))
