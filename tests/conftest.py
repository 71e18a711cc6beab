"""Fixtures that many rooms' tests share: real data where it is there, a small model made on the spot."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from plw.runtime.memory import collect_rarely

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# As the command does.
collect_rarely()

# How long an example takes is the machine's matter, and how busy it is: no test fails by it.
settings.register_profile("plw", deadline=None)
settings.load_profile("plw")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
WITHOUT_SHARED_DATA = f"{SHARED_DATA} is absent"

CORPUS = (
    "Describe a process of making crepes. Name three colours and say which of them is warm. "
    "Below is an instruction that describes a task. Write a response that completes the request. "
    "### Instruction: ### Input: ### Response: The capital of France is Paris, and the river there is the Seine. "
    "Give me the sum of 12 and 30. It is 42, because 12 + 30 = 42."
)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; the test skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{WITHOUT_SHARED_DATA}: this test reads real data that cannot be copied into the project")
    return SHARED_DATA


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests did not run because the real data is not there."""
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if WITHOUT_SHARED_DATA in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests skipped for lack of ../shared/data")


@pytest.fixture(scope="session")
def llama_tokenizer(shared_data: Path) -> "PreTrainedTokenizerBase":
    """The LLaMA tokenizer, converted from its SentencePiece file."""
    from plw.data.tokenizer import load_tokenizer

    return load_tokenizer(shared_data / "llama_tokenizer.model")


@pytest.fixture(scope="session")
def tiny_tokenizer() -> "PreTrainedTokenizerBase":
    """A byte-level BPE of 400 tokens that adds BOS; it has EOS and a padding token."""
    from plw.testing.tokenizers import byte_level_tokenizer

    return byte_level_tokenizer()


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: "PreTrainedTokenizerBase") -> Path:
    """A folder with a LlamaForCausalLM of random weights (2 layers, 32 wide) and `tiny_tokenizer`."""
    from plw.testing.models import make_random_llama

    return make_random_llama(tmp_path_factory.mktemp("models") / "tiny_llama", tiny_tokenizer, hidden=32, heads=2)
