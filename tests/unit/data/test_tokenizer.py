"""Tokenizers: the converted LLaMA tokenizer agrees with sentencepiece, also after saving; mistakes are one line."""

import json
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from plw.data.tokenizer import check_vocabulary, load_tokenizer, save_tokenizer
from plw.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ODD = [
    "",
    " one space",
    "  two  spaces  ",
    "\n\n",
    "\ttab",
    "日本語 テキスト",
    "🙂🙃",
    "e\u0301",
    "▁ under ▁▁",
    "\u00a0\u200b",
    "<0x0A>",
    "A" * 300,
    " " * 50,
    "\x01",
    "़ा",
]


def test_ids_equal_sentencepiece(shared_data: Path, llama_tokenizer: "PreTrainedTokenizerBase", tmp_path: Path) -> None:
    import sentencepiece

    reference = sentencepiece.SentencePieceProcessor(model_file=str(shared_data / "llama_tokenizer.model"))
    rows = json.loads((shared_data / "alpaca/alpaca_cleaned_999.json").read_text(encoding="utf-8"))
    wiki = (shared_data / "alpaca/wiki_demo.txt").read_text(encoding="utf-8").split("\n")[:300]
    dice = random.Random(0)
    noise = ["".join(dice.choice("ab  \n\t.,é中🙂▁0x/'\"") for _ in range(dice.randint(0, 40))) for _ in range(1000)]
    texts = [row[field] for row in rows for field in row] + wiki + noise + ODD
    expected = [reference.encode(text) for text in texts]
    assert llama_tokenizer(texts, add_special_tokens=False)["input_ids"] == expected
    llama_tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path)(texts)["input_ids"] == [[1, *row] for row in expected]
    assert llama_tokenizer.decode(expected[0]) == texts[0]


def test_special_tokens_are_llamas(llama_tokenizer: "PreTrainedTokenizerBase") -> None:
    assert (llama_tokenizer.bos_token_id, llama_tokenizer.eos_token_id, llama_tokenizer.pad_token) == (1, 2, None)
    assert len(llama_tokenizer) == 32_000
    assert llama_tokenizer("hi</s>")["input_ids"] == [1, 7251, 2]


def test_a_tilde_is_the_home_folder(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves it as it is behind ``--tokenizer=``."""
    monkeypatch.setenv("HOME", str(tiny_llama.parent))
    assert load_tokenizer(f"~/{tiny_llama.name}").get_vocab() == load_tokenizer(tiny_llama).get_vocab()


def test_mistakes_are_one_line(tmp_path: Path, tiny_llama: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        load_tokenizer(tmp_path / "absent.model")
    with pytest.raises(UserError, match="no such file or folder"):
        load_tokenizer(tmp_path / "absent")
    (tmp_path / "x.model").write_bytes(b"not a model at all")
    with pytest.raises(UserError, match="not a SentencePiece model file"):
        load_tokenizer(tmp_path / "x.model")
    with pytest.raises(UserError, match=r"tokenizer\.json: a file and no SentencePiece model; give the folder"):
        load_tokenizer(tiny_llama / "tokenizer.json")
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_llama / name, bare)
    with pytest.raises(UserError, match="holds no tokenizer files"):
        load_tokenizer(bare)


@pytest.mark.parametrize("names", [["eos_token"], ["bos_token", "eos_token", "unk_token"]])
@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("as_object", [False, True])
def test_empty_special_tokens_are_told(
    names: list[str], file: str, as_object: bool, tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    """As early conversions of LLaMA have them; transformers looks them up for ever."""
    tiny_tokenizer.save_pretrained(tmp_path)
    path = tmp_path / file
    fields = json.loads(path.read_text()) if path.exists() else {}
    empty = {"content": "", "lstrip": False} if as_object else ""
    path.write_text(json.dumps(fields | dict.fromkeys(names, empty)))
    with pytest.raises(UserError) as caught:
        load_tokenizer(tmp_path)
    line = str(caught.value)
    assert line.startswith(str(tmp_path))
    assert all(name in line for name in (*names, "</s>", "tokenizer_config.json"))


def test_a_tokenizer_of_another_model_is_told(tiny_tokenizer: "PreTrainedTokenizerBase") -> None:
    check_vocabulary(tiny_tokenizer, 400, "m")
    check_vocabulary(tiny_tokenizer, 512, "m")
    with pytest.raises(UserError, match=r"^m: the tokenizer has 400 entries, the model's embedding 320 rows"):
        check_vocabulary(tiny_tokenizer, 320, "m")


def test_tokens_added_on_top_get_rows_and_ids_with_gaps_are_told(
    tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    tiny_tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    saved = json.loads(path.read_text())
    for identity, told in ((400, False), (700, True)):
        added = {**saved["added_tokens"][0], "id": identity, "content": "<new>"}
        vocabulary = {**saved["model"]["vocab"], "<new>": identity} if told else saved["model"]["vocab"]
        changed = saved | {"added_tokens": [*saved["added_tokens"], added]}
        path.write_text(json.dumps(changed | {"model": saved["model"] | {"vocab": vocabulary}}))
        loaded = load_tokenizer(tmp_path)
        assert loaded.convert_tokens_to_ids("<new>") == identity
        if told:
            with pytest.raises(UserError, match=r"token '<new>' has id 700, but .* 401 rows"):
                check_vocabulary(loaded, 401, "m")
        else:
            check_vocabulary(loaded, 400, "m")


@pytest.mark.parametrize("damage", ["cut", "emptied", "a page", "a pointer", "a list", "another kind"])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_tokenizer_file_is_one_line(
    name: str, damage: str, tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    tiny_tokenizer.save_pretrained(tmp_path)
    whole = (tmp_path / name).read_bytes()
    content = {
        "cut": whole[: len(whole) // 2],
        "emptied": b"",
        "a page": b"<!DOCTYPE html>",
        "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a list": b"[1, 2]",
        "another kind": b'{"tokenizer_class": "NoSuchTokenizer", "model": {"type": "Odd"}}',
    }[damage]
    (tmp_path / name).write_bytes(content)
    if (name, damage) == ("tokenizer_config.json", "another kind"):
        # transformers falls back on the class that tokenizer.json needs.
        assert load_tokenizer(tmp_path)("a")["input_ids"]
        return
    with pytest.raises(UserError) as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_the_models_config_is_not_laid_to_the_tokenizer(tmp_path: Path, tiny_llama: Path) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": "32"}))
    with pytest.raises(UserError, match=r"m: config.json cannot be read \(.*hidden_size.* expected int, got str"):
        load_tokenizer(folder)


def test_code_of_its_own_that_is_not_trusted_is_told_with_the_field(
    tmp_path: Path, tiny_tokenizer: "PreTrainedTokenizerBase"
) -> None:
    tiny_tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | own))
    with pytest.raises(UserError, match=r"set model.trust_remote_code=true"):
        load_tokenizer(tmp_path)


def test_how_a_tokenizer_was_loaded_leaves_no_trace_in_what_is_saved(tiny_tokenizer, tmp_path):
    """From a folder, offline or made on the spot: the same bytes, and the object as it was."""
    from transformers import AutoTokenizer

    save_tokenizer(tiny_tokenizer, tmp_path / "made")
    for offline in (True, False):
        loaded = AutoTokenizer.from_pretrained(tmp_path / "made", local_files_only=offline)
        before = dict(loaded.init_kwargs)
        save_tokenizer(loaded, tmp_path / f"again-{offline}")
        assert loaded.init_kwargs == before
        for path in (tmp_path / "made").iterdir():
            assert (tmp_path / f"again-{offline}" / path.name).read_bytes() == path.read_bytes(), path.name
