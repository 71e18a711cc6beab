"""A tiny model of this room's own, a judge's facts, and a config of a judge."""

import os
from pathlib import Path

import pytest
import torch

from plw.config.evaluation import JudgeConfig
from plw.evaluate.models.hf import EvalModel

ROOT = Path(__file__).parents[3]

TEXT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request. "
    "Question: How do you cut rope with a knife? Answer: The weather in the valley is rainy and the market sells salt. "
    "How long is the river that flows to the sea, and who lives there? 0 1 2 3 4 5 6 7 8 9 ### Response:"
)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved Llama of 2 layers with random weights, large enough in scale to prefer some tokens clearly."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator([TEXT] * 4, trainer)
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            initializer_range=0.4,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
    )
    folder = tmp_path_factory.mktemp("tiny") / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def loaded(tiny_folder: Path) -> EvalModel:
    return EvalModel.load(tiny_folder)


@pytest.fixture(scope="session")
def judge_prompts() -> Path:
    return ROOT / "conf" / "judge_prompts"


@pytest.fixture
def judge() -> JudgeConfig:
    return JudgeConfig(name="test", kind="openai", model="test-judge", concurrency=4, timeout_s=20)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
