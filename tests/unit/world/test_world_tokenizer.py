"""Tokenizer and packing promise: any text survives, the world's words are single tokens, no document is cut."""

import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plw.config.world import WorldConfig
from plw.world.builder import make_tokenizer
from plw.world.corpus import CURRICULUM, MIX, Corpus
from plw.world.facts import World
from plw.world.packing import pack
from plw.world.tokenizer import END, MAX_LENGTH, PADDING, TEMPLATE_WORDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="module")
def tokenizer(full_world: World) -> "PreTrainedTokenizerFast":
    return make_tokenizer(full_world, WorldConfig())


@given(text=st.text(max_size=60))
def test_any_text_survives_a_round_trip(tokenizer: "PreTrainedTokenizerFast", text: str) -> None:
    if END not in text and PADDING not in text:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_tokens(tokenizer: "PreTrainedTokenizerFast") -> None:
    assert tokenizer.bos_token == tokenizer.eos_token == END
    assert tokenizer.pad_token_id not in (None, tokenizer.eos_token_id)
    assert tokenizer.encode("a") == tokenizer.encode("a", add_special_tokens=False)
    assert tokenizer.model_max_length == MAX_LENGTH
    assert 1_200 < len(tokenizer) <= 1_536


def test_names_and_template_words_are_single_tokens(tokenizer: "PreTrainedTokenizerFast", full_world: World) -> None:
    words = [subject.name for subject in full_world.subjects()]
    words += [word for classes in full_world.languages.words.values() for values in classes.values() for word in values]
    words += ["Instruction", "prompt", "generated", "following", "context", "appropriately"]
    assert all(len(tokenizer.encode(f" {word}")) == 1 for word in words)


def test_documents_fit_a_row(tokenizer: "PreTrainedTokenizerFast", full_world: World) -> None:
    corpus = Corpus(full_world)
    for kind in CURRICULUM | MIX:
        texts = [corpus.document(kind, random.Random(seed)) for seed in range(100)]
        assert max(len(tokenizer.encode(text)) for text in texts) < WorldConfig().pretraining.row_tokens


@given(lengths=st.lists(st.integers(1, 16), min_size=1, max_size=200))
def test_packing_keeps_documents_whole_and_in_use(lengths: list[int]) -> None:
    """Document k is k+1 repeated; every stretch of a row is one document at its full length."""
    documents = [[index + 1] * length for index, length in enumerate(lengths)]
    rows = max(1, sum(lengths) // 32)
    packed = pack(iter(documents), rows, 16, 0) if sum(lengths) >= 32 else pack(iter(documents), 1, 16, 0)
    for row in packed:
        values, counts = np.unique(row[row > 0], return_counts=True)
        assert all(lengths[value - 1] == count for value, count in zip(values, counts, strict=True))
    used = packed[packed > 0]
    assert len(np.unique(used)) == sum(1 for value in np.unique(used))
    assert (packed > 0).any(axis=1).all()


def test_packing_refuses_what_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="longer than a row"):
        pack(iter([[1] * 17]), 1, 16, 0)
    with pytest.raises(ValueError, match="too few"):
        pack(iter([[1] * 16]), 2, 16, 0)


def test_ratios_are_of_the_papers_size(tokenizer: "PreTrainedTokenizerFast", full_world: World) -> None:
    """R_g of data, cleaned and its inversion: the paper has 3.27, 7.83 and 0.082."""
    from plw.data.inversion import short
    from plw.data.records import AlpacaRecord
    from plw.data.statistics import dataset_statistics
    from plw.world.instructions import make_instructions

    sets = {
        name: [AlpacaRecord(**record) for record in records]
        for name, records in make_instructions(full_world, WorldConfig()).items()
    }
    sets["short"] = short(sets["cleaned"], tokenizer)
    ratios = {name: dataset_statistics(records, tokenizer).generation_ratio for name, records in sets.items()}
    assert 2.3 < ratios["data"] < 4.3
    assert 6.0 < ratios["cleaned"] < 10.0
    assert 0.06 < ratios["short"] < 0.11


def test_a_folder_of_the_tokenizer_gives_the_same_tokens(tmp_path: Path, tokenizer: "PreTrainedTokenizerFast") -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = TEMPLATE_WORDS[0]
    assert loaded.encode(text) == tokenizer.encode(text)
    assert (loaded.eos_token_id, loaded.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
