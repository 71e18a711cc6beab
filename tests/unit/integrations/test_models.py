"""Models under which a loss would be another one unseen: packed rows, pictures, heads that do more, adapters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from plw.errors import UserError
from plw.integrations import PromptWeightCollator, PromptWeightedSFTTrainer, PromptWeightedTrainer
from plw.integrations.probe import check_fused_head, check_packed_rows
from tests.unit.integrations.token_rows import ROWS

# TRL sets fields that transformers warns of.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SIZES: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def made(name: str, **fields: Any) -> Any:
    """A model of random weights; biases are not 0."""
    import transformers

    config = {
        "Opt": lambda: transformers.OPTConfig(
            vocab_size=400, hidden_size=32, word_embed_proj_dim=32, ffn_dim=32, num_hidden_layers=1,
            num_attention_heads=2, dropout=0.0, max_position_embeddings=64,
        ),
        "Bloom": lambda: transformers.BloomConfig(vocab_size=400, hidden_size=32, n_layer=1, n_head=2),
        "Mamba": lambda: transformers.MambaConfig(
            vocab_size=400, hidden_size=32, num_hidden_layers=1, state_size=4
        ),
        "Llama": lambda: transformers.LlamaConfig(**SIZES, **fields),
        "Mixtral": lambda: transformers.MixtralConfig(**SIZES, num_key_value_heads=2, num_local_experts=4),
        "Gemma2": lambda: transformers.Gemma2Config(**SIZES, num_key_value_heads=1, head_dim=16),
        "Phi": lambda: transformers.PhiConfig(**SIZES),
        "Roberta": lambda: transformers.RobertaConfig(**SIZES, is_decoder=True),
    }[name]()  # fmt: skip
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=1.0, std=0.1)
    return model


def trainer(kind: str, folder: Path, model: Any, **given: Any) -> Any:
    from datasets import Dataset
    from transformers import TrainingArguments
    from trl import SFTConfig

    fields = {"report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", **given.pop("args", {})}
    rows = given.pop("train_dataset", Dataset.from_list(ROWS))
    if kind == "trainer":
        return PromptWeightedTrainer(model, TrainingArguments(str(folder), **fields), train_dataset=rows, **given)
    return PromptWeightedSFTTrainer(
        model, SFTConfig(str(folder), **{"max_length": None, **fields}), train_dataset=rows, **given
    )


@pytest.mark.parametrize("name", ["Opt", "Bloom", "Mamba"])
def test_models_whose_packed_examples_reach_each_other_are_refused(name: str) -> None:
    """Positions that are counted and not read, attention without bounds, a state that goes on."""
    with pytest.raises(UserError, match=r"in packed rows of .* would not be what they are alone"):
        check_packed_rows(made(name))


@pytest.mark.parametrize("name", ["Llama", "Mixtral", "Gemma2", "Phi"])
def test_models_that_keep_examples_apart_are_not(name: str) -> None:
    model = made(name)
    check_packed_rows(model)
    assert model.training
    assert not any(parameter.grad is not None for parameter in model.parameters())


def test_packed_rows_are_tried_before_the_training(tiny_tokenizer: Any, tmp_path: Path) -> None:
    from transformers import DataCollatorWithFlattening

    given = {"processing_class": tiny_tokenizer}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("trainer", {"data_collator": PromptWeightCollator(pad_token_id=0, padding_free=True)}),
        ("sft", {"args": {"padding_free": True}}),
        ("sft", {"args": {"packing": True, "max_length": 32}}),
        ("sft", {"data_collator": PromptWeightCollator(pad_token_id=0, padding_free=True)}),
    ]
    for kind, more in cases:
        with pytest.raises(UserError, match="in packed rows of BloomForCausalLM"):
            trainer(kind, tmp_path, made("Bloom"), **given, **more)
    labelled = [{"input_ids": row["input_ids"], "labels": [-100, -100, *row["input_ids"][2:]]} for row in ROWS]
    from datasets import Dataset

    with pytest.raises(UserError, match="in packed rows of BloomForCausalLM"):
        trainer(
            "trainer", tmp_path, None, model_init=lambda: made("Bloom"), train_dataset=Dataset.from_list(labelled),
            data_collator=DataCollatorWithFlattening(),
        )  # fmt: skip


def test_a_head_that_trl_does_not_know_is_refused(tiny_tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"TRL's fused head gives other log-probabilities .* RobertaForCausalLM"):
        trainer("sft", tmp_path, made("Roberta"), processing_class=tiny_tokenizer)
    for name in ("Gemma2", "Phi"):
        model = trainer("sft", tmp_path, made(name), processing_class=tiny_tokenizer).model
        with torch.no_grad():
            check_fused_head(model)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_a_head_is_looked_at_in_any_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="are not its head's output"):
        trainer("trainer", tmp_path, made("Roberta").to(dtype))
    trainer("trainer", tmp_path, made("Gemma2").to(dtype))


def test_tokens_of_the_head_that_peft_trains_are_refused_in_trl(tiny_tokenizer: Any, tmp_path: Path) -> None:
    from peft import LoraConfig

    learned = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], trainable_token_indices={"lm_head": [5]})
    with pytest.raises(UserError, match="made a TrainableTokensWrapper; train it with modules_to_save"):
        trainer("sft", tmp_path, made("Llama"), processing_class=tiny_tokenizer, peft_config=learned)


@pytest.mark.parametrize("kind", ["trainer", "sft"])
def test_adapters_past_the_weighted_loss_are_refused(kind: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    from peft import AdaLoraConfig, AdaptionPromptConfig, get_peft_model

    configs: dict[str, Callable[[], Any]] = {
        "ADALORA adds a term": lambda: AdaLoraConfig(
            task_type="CAUSAL_LM", target_modules=["q_proj"], total_step=9, init_r=4, target_r=2, tinit=1, tfinal=2
        ),
        "ADAPTION_PROMPT calls the model's own": lambda: AdaptionPromptConfig(
            task_type="CAUSAL_LM", adapter_len=2, adapter_layers=1
        ),
    }
    for named, config in configs.items():
        with pytest.raises(UserError, match=named):
            trainer(kind, tmp_path, get_peft_model(made("Llama"), config()))
        if kind == "sft":
            with pytest.raises(UserError, match=named):
                trainer(kind, tmp_path, made("Llama"), processing_class=tiny_tokenizer, peft_config=config())


def llava() -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    eye = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    torch.manual_seed(0)
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=eye, text_config=LlamaConfig(**SIZES), image_token_index=399, image_seq_length=4,
            vision_feature_layer=-1,
        )
    )  # fmt: skip


def test_pictures_are_seen_or_refused(tmp_path: Path) -> None:
    """Our collator makes rows of text alone; with another's the loss is that of the model's own logits."""
    token_T = torch.tensor([1, 399, 399, 399, 399, 5, 6, 7, 8])
    batch = {
        "input_ids": token_T[None],
        "labels": token_T.where(torch.arange(9) > 5, -100)[None],
        "attention_mask": torch.ones(1, 9, dtype=torch.int64),
        "pixel_values": torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(0)),
    }
    row = {"input_ids": token_T.tolist(), "completion_mask": [0] * 6 + [1] * 3, "pixel_values": [0.0]}
    from datasets import Dataset

    rows = Dataset.from_list([row])
    with pytest.raises(UserError, match="the data have pixel_values, which PromptWeightCollator does not read"):
        trainer("trainer", tmp_path, llava(), train_dataset=rows)
    seeing = trainer("trainer", tmp_path, llava(), train_dataset=rows, data_collator=lambda _: batch, prompt_weight=0.3)
    seeing.model.eval()
    expected, outputs = seeing.compute_loss(seeing.model, dict(batch), return_outputs=True)
    assert outputs.logits.shape == (1, 9, 400)
    assert seeing.compute_loss(seeing.model, dict(batch)).item() == pytest.approx(expected.item(), rel=1e-6)
    blind = seeing.compute_loss(seeing.model, {**batch, "pixel_values": -batch["pixel_values"]})
    assert abs(blind.item() - expected.item()) > 1e-4


MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% set words %}{% for part in m.content %}"
    "{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}<|im_end|>{% endset %}"
    "{% if m.role == 'assistant' %}{% generation %}{{ words }}{% endgeneration %}{% else %}{{ words }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize("form", ["messages", "prompt and completion"])
def test_chats_with_pictures_are_trls_at_weight_0(form: str, tmp_path: Path) -> None:
    from datasets import Dataset
    from PIL import Image
    from transformers import CLIPImageProcessor, LlavaProcessor
    from trl import SFTConfig, SFTTrainer

    from plw.testing.tokenizers import byte_level_tokenizer

    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(["<image>"], special_tokens=True)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=tokenizer, patch_size=14, vision_feature_select_strategy="default", chat_template=MARKED,
        num_additional_image_tokens=1,
    )  # fmt: skip
    asked, said = [{"role": "user", "content": "What?"}], [{"role": "assistant", "content": "A cat."}]
    chats = {"messages": {"messages": asked + said}, "prompt and completion": {"prompt": asked, "completion": said}}
    rows = Dataset.from_list([{"images": [Image.new("RGB", (28, 28), color)], **chats[form]} for color in ("red", 9)])
    args: dict[str, Any] = {
        "report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", "max_length": None,
        "assistant_only_loss": form == "messages", "learning_rate": 0.0, "num_train_epochs": 1,
    }  # fmt: skip
    losses = []
    for kind in (SFTTrainer, PromptWeightedSFTTrainer):
        model = llava()
        model.resize_token_embeddings(512)
        model.config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
        given = SFTConfig(str(tmp_path), **args)
        trained = kind(model, given, train_dataset=rows, processing_class=processor).train()
        losses.append(trained.training_loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
