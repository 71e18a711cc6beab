"""Models for tests of several processes."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@pytest.fixture(scope="session")
def tied_llama(
    tiny_llama: Path, tiny_tokenizer: "PreTrainedTokenizerBase", tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Embedding and head are one tensor, and two query heads share a key."""
    from transformers import AutoConfig

    from plw.testing.models import make_model

    fields = AutoConfig.from_pretrained(tiny_llama).to_diff_dict()
    fields |= {"tie_word_embeddings": True, "num_key_value_heads": 1}
    return make_model(tmp_path_factory.mktemp("tied"), "Llama", tiny_tokenizer, **fields)
