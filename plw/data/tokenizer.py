"""Tokenizers: loaded from a folder, a hub name, or the SentencePiece file that the LLaMA models came with."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plw.errors import UserError
from plw.files.file_starts import check_no_pointer
from plw.files.json_text import kind_of
from plw.files.reading import read_json
from plw.pretrained.model_folder import TOKENIZER_FILES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")
PROBE_TEXT = "a"
"""A text to see what a tokenizer puts around one."""
JSON_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)
LOADING_NOTES = ("is_local", "local_files_only")
SPACE = "▁"
"""The letter that SentencePiece writes for a space."""


def load_tokenizer(
    path: str | Path, *, revision: str | None = None, trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """A fast transformers tokenizer.

    Args:
        path: a folder with tokenizer files, a hub name, or a SentencePiece BPE ``.model`` file.
        revision: hub revision; not used for folders and files.
        trust_remote_code: run tokenizer code that comes with the model.

    Raises:
        UserError: nothing there, or nothing that is a tokenizer.
    """
    place = Path(path).expanduser()
    if place.is_file() and place.suffix == ".json":
        raise UserError(f"{place}: a file and no SentencePiece model; give the folder with the tokenizer's files")
    if place.is_file():
        return from_sentencepiece(place)
    if place.suffix == ".model" or (place.is_absolute() and not place.exists()):
        raise UserError(f"{place}: no such file or folder; give a tokenizer folder, a hub name or a .model file")
    if place.is_dir():
        _check_folder(place)
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(place if place.is_dir() else path), revision=revision, trust_remote_code=trust_remote_code
        )
    except RecursionError:
        raise UserError(f"{path}: no tokenizer can be loaded from here (its special tokens name each other)") from None
    except Exception as error:  # Each tokenizer class fails in its own way; the tokenizers library raises Exception.
        reason = " ".join(str(error).split()) or type(error).__name__
        if "trust_remote_code" in reason and not trust_remote_code:
            reason = "it needs code of its own; read that code, then set model.trust_remote_code=true to run it"
        at_fault = (
            "config.json cannot be read" if _config_fails_so(path, error) else "no tokenizer can be loaded from here"
        )
        raise UserError(f"{path}: {at_fault} ({reason})") from None
    if empty := [name for name in SPECIAL_TOKENS if getattr(tokenizer, name) == ""]:
        raise UserError(_empty_tokens(path, empty))
    add_bos_alone(tokenizer)
    return tokenizer


def _config_fails_so(path: str | Path, error: Exception) -> bool:
    """Whether an error is that of the model's config in a folder, which tokenizers read too."""
    from transformers import AutoConfig

    if not (Path(path) / "config.json").is_file():
        return False
    try:
        AutoConfig.from_pretrained(str(path))
    except Exception as other:  # As of a tokenizer.
        return str(other) == str(error)
    return False


def save_tokenizer(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Save a tokenizer without the notes that transformers makes of how it was loaded.

    They say whether it came from a folder and whether the hub was reached: the same tokenizer is the same bytes.
    """
    notes = {name: tokenizer.init_kwargs.pop(name) for name in LOADING_NOTES if name in tokenizer.init_kwargs}
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.init_kwargs.update(notes)


def starting_tokens(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """[BOS] if the tokenizer puts one in front of a text by itself, else nothing."""
    bare: list[int] = tokenizer(PROBE_TEXT, add_special_tokens=False)["input_ids"]
    start: list[int] = tokenizer(PROBE_TEXT)["input_ids"][:1]
    return start if start == [tokenizer.bos_token_id] and start != bare[:1] else []


def tokenise(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> list[list[int]]:
    """Token ids of each text, in training and in evaluation alike: BOS once in front if the tokenizer adds one."""
    if not texts:
        return []
    start = starting_tokens(tokenizer)
    rows: list[list[int]] = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    # A template may spell BOS out itself; it still stands once.
    return [row if row[:1] == start else start + row for row in rows]


def add_bos_alone(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Let a tokenizer put nothing around a text but BOS in front, if it does that: the one rule for every text.

    Some append EOS by themselves (``add_eos_token``, or a template in tokenizer.json): a prompt to go on from would end
    in it, and a choice would be scored by it. What is saved of the tokenizer keeps the rule.

    Raises:
        UserError: the tokenizer puts more around a text, and cannot be told not to.
    """
    if _adds_bos_alone(tokenizer):
        return
    from tokenizers.processors import TemplateProcessing

    bos = [(str(tokenizer.bos_token), tokenizer.bos_token_id)] if starting_tokens(tokenizer) else []
    front = f"{bos[0][0]} " if bos else ""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        for flag, value in (("_add_bos_token", bool(bos)), ("_add_eos_token", False)):
            # The public setters would make the template anew, from flags that the file did not set.
            object.__setattr__(tokenizer, flag, value)
        pair = f"{front}$A {front}$B:1"
        backend.post_processor = TemplateProcessing(single=f"{front}$A", pair=pair, special_tokens=bos)
    if not _adds_bos_alone(tokenizer):
        added = tokenizer.convert_ids_to_tokens(tokenizer("")["input_ids"])
        raise UserError(
            f"{tokenizer.name_or_path}: the tokenizer puts {added} around every text; only BOS is understood"
        )


def _adds_bos_alone(tokenizer: "PreTrainedTokenizerBase") -> bool:
    bare: list[int] = tokenizer(PROBE_TEXT, add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer(PROBE_TEXT)["input_ids"]
    return whole == starting_tokens(tokenizer) + bare


def _check_folder(folder: Path) -> None:
    """A tokenizer is there, and none of its special tokens is the empty text, which many classes look up for ever."""
    if not any(any(folder.glob(pattern)) for pattern in TOKENIZER_FILES if not pattern.startswith("special")):
        raise UserError(f"{folder}: holds no tokenizer files (tokenizer.json); save the tokenizer beside the model")
    empty: list[str] = []
    for file in sorted({path for pattern in TOKENIZER_FILES for path in folder.glob(pattern) if path.is_file()}):
        if file.name not in JSON_FILES:
            check_no_pointer(file)
            continue
        config = read_json(file)
        if not isinstance(config, dict):
            raise UserError(f"{file}: holds {kind_of(config)}, not an object; fetch the tokenizer again")
        if file.name not in ("tokenizer_config.json", "special_tokens_map.json"):
            continue
        for token in SPECIAL_TOKENS:
            text = config.get(token)
            if (text.get("content") if isinstance(text, dict) else text) == "":
                empty.append(token)
    if empty:
        raise UserError(_empty_tokens(folder, list(dict.fromkeys(empty))))


def _empty_tokens(path: str | Path, names: list[str]) -> str:
    return (
        f"{path}: the tokenizer's {' and '.join(names)} must not be the empty text; write the token's own text (such "
        "as </s>), or null where there is none, in tokenizer_config.json and special_tokens_map.json"
    )


def check_vocabulary(tokenizer: "PreTrainedTokenizerBase", rows: int, where: str) -> None:
    """Every token has a row of the model's embedding, or gets one: what was added on top of the vocabulary does.

    Args:
        tokenizer: said to be the model's.
        rows: of the model's embedding.
        where: the model, for the message.

    Raises:
        UserError: the tokenizer is another model's, or an id lies beyond the embedding and all added tokens.
    """
    if tokenizer.vocab_size > rows:
        raise UserError(
            f"{where}: the tokenizer has {tokenizer.vocab_size:,} entries, the model's embedding {rows:,} rows; they "
            "are of different models: fetch both from one place"
        )
    token, last = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if last >= max(rows, len(tokenizer)):
        raise UserError(
            f"{where}: token {token!r} has id {last:,}, but the model's embedding has {rows:,} rows and the tokenizer "
            f"{len(tokenizer):,} tokens; give ids without gaps to the added tokens"
        )


def from_sentencepiece(path: Path) -> "PreTrainedTokenizerBase":
    """Convert a SentencePiece BPE model with byte fallback and no normalisation, such as LLaMA 1 and 2's.

    Every text gets a space in front, spaces are kept one by one, BOS is added by default and EOS is not: what the LLaMA
    tokenizer does. The vocabulary keeps its ids, and the merges follow from the pieces' scores.

    Raises:
        UserError: not a SentencePiece file, or one of another kind (unigram, normalising, without byte fallback).
    """
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    proto = _read_proto(path)
    pieces = [piece.piece for piece in proto.pieces]
    unknown, start, end = (pieces[i] for i in _special_ids(path, proto))
    tokenizer = Tokenizer(
        BPE(
            vocab={piece: index for index, piece in enumerate(pieces)},
            merges=_merges({piece.piece: piece.score for piece in proto.pieces if piece.type == piece.NORMAL}),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (unknown, start, end)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", pair=f"{start} $A {start} $B", special_tokens=[(start, pieces.index(start))]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        unk_token=unknown,
        bos_token=start,
        eos_token=end,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def _read_proto(path: Path) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from sentencepiece import sentencepiece_model_pb2

    check_no_pointer(path)
    proto = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
        proto.ParseFromString(path.read_bytes())
    except DecodeError:
        raise UserError(f"{path}: not a SentencePiece model file") from None
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    if not proto.pieces:
        raise UserError(f"{path}: not a SentencePiece model file (it holds no pieces)")
    if trainer.model_type != trainer.BPE or not trainer.byte_fallback:
        raise UserError(
            f"{path}: only SentencePiece BPE with byte fallback can be converted; save a tokenizer.json instead"
        )
    if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces or not normalizer.add_dummy_prefix:
        raise UserError(f"{path}: its text normalisation cannot be converted; save a tokenizer.json instead")
    return proto


def _special_ids(path: Path, proto: Any) -> tuple[int, int, int]:
    trainer = proto.trainer_spec
    ids = (trainer.unk_id, trainer.bos_id, trainer.eos_id)
    if min(ids) < 0:
        raise UserError(f"{path}: the tokenizer has no unknown, BOS or EOS piece; all three are needed")
    return ids


def _merges(score: dict[str, float]) -> list[tuple[str, str]]:
    """Every way to join two pieces into a third, best score first, as SentencePiece would join them."""
    merges = []
    for piece, value in score.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in score and right in score:
                merges.append((-value, len(left), left, right))
    merges.sort(key=lambda merge: merge[:2])
    return [(left, right) for _, _, left, right in merges]
