"""A tiny model of this room's own, a judge's facts, and a config of a judge."""

import os
from pathlib import Path

import pytest
import torch

from plw.config.judge import JudgeConfig
from plw.evaluate.models.hf import EvalModel
from plw.testing.models import make_model
from plw.testing.tokenizers import byte_level_tokenizer

ROOT = Path(__file__).parents[3]

TEXT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request. "
    "Question: How do you cut rope with a knife? Answer: The weather in the valley is rainy and the market sells salt. "
    "How long is the river that flows to the sea, and who lives there? 0 1 2 3 4 5 6 7 8 9 ### Response:"
)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved Llama of 2 layers with random weights, large enough in scale to prefer some tokens clearly."""
    return make_model(
        tmp_path_factory.mktemp("tiny") / "model",
        "Llama",
        byte_level_tokenizer([TEXT], size=320),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.4,
    )


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
