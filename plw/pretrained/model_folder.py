"""What a model folder holds, and whether it can be loaded: checked from names, sizes and headers, no weights read.

Files of the hub arrive cut, as git-lfs pointers, or with a config that is not theirs; each is one line before any work.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from plw.errors import UserError, named
from plw.files.file_starts import check_no_pointer
from plw.files.hashing import folder_hash
from plw.files.reading import read_json
from plw.pretrained.gguf_file import SUFFIX
from plw.results.identity import fingerprint

WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json", "adapter_config.json")
TOKENIZER_FILES = (
    "tokenizer*",
    "vocab*",
    "merges*",
    "added_tokens.json",
    "special_tokens_map.json",
    "*.model",
    "*.tiktoken",
    "*.spm",
    "chat_template*",
    "chat_templates/*",
    "additional_chat_templates/*",
)
CONFIG_FILES = ("config.json",)
GENERATION = "generation_config.json"
"""Read for the tokens that end an answer alone: how answers are sampled is the suite's."""
CODE_FILES = ("**/*.py",)
"""Read only where code that comes with the model is trusted; such code may read any other file of the folder too."""
PICKLED_FILES = ("*.bin",)
"""Weights from before safetensors; only a judge may have them."""

TRAINING_STATE = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state\w*)\.(bin|pth?)$")
"""Pickles that a trainer leaves beside the weights; nothing reads them."""

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_HEADER_BYTES = 100_000_000
"""More is refused by the safetensors library too."""
EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|word_embeddings|embed_in|tok_embeddings|tokens_embed)\.weight$")
SCALE = re.compile(r"\.(qweight|qzeros|weight_scale|weight_scale_inv|weight_packed|SCB|absmax|quant_map)$")
"""Tensors that say what the numbers of quantised weights stand for."""
LAYER = re.compile(r"\.(?:layers|h|blocks)\.(\d+)\.")
LAYER_FIELDS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
OTHER_HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering", "MaskedLM", "MultipleChoice")
"""Ends of architectures' names that have a head for another purpose than predicting the next token."""
BELOW = ("*/config.json", "snapshots/*/config.json")
"""Where models lie below the folder of a training, or of the hub's cache."""


def model_hash(folder: Path, *, trust_remote_code: bool = False, pickled: bool = False) -> str:
    """SHA-256 of everything in a model folder that changes what is loaded.

    Args:
        folder: holds config, weights and tokenizer.
        trust_remote_code: whether code in the folder is run; then all its files but other weights count.
        pickled: whether pickled weights are loaded.
    """
    patterns = (*WEIGHT_FILES, *CONFIG_FILES, *TOKENIZER_FILES, *(PICKLED_FILES if pickled else ()))
    code = (*CODE_FILES, "*.json", "*.txt") if trust_remote_code else ()
    files = folder_hash(folder, (*patterns, *code))
    return fingerprint({"files": files, "ends": _generation_tokens(folder)})


def _generation_tokens(folder: Path) -> dict[str, Any]:
    """The special tokens of the generation config."""
    found = read_json(folder / GENERATION) if (folder / GENERATION).is_file() else {}
    if not isinstance(found, dict):
        raise UserError(f"{folder / GENERATION}: holds no JSON object; fetch it again")
    return {name: value for name, value in sorted(found.items()) if name.endswith("_token_id")}


def check_model_folder(folder: Path, field: str, *, trust_remote_code: bool = False, pickled: bool = False) -> None:
    """Refuse a folder whose model cannot be trained or asked; the answer is kept while its files stay as they are.

    Args:
        folder: what ``field`` names.
        field: the config field, for the message.
        trust_remote_code: whether the config lets code of the folder run.
        pickled: whether weights from before safetensors are allowed.

    Raises:
        UserError: damaged, incomplete or of another kind; the line names folder, cause and remedy.
    """
    state = tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(_files(folder)))
    _check_once(folder, field, trust_remote_code, pickled, state)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_file())


@lru_cache(maxsize=256)
def _check_once(folder: Path, field: str, trusted: bool, pickled: bool, state: tuple[Any, ...]) -> None:  # noqa: ARG001
    def refuse(cause: str) -> UserError:
        return UserError(f"{field}={folder}: {cause}")

    names = {path.name for path in _files(folder)}
    if "adapter_config.json" in names and not names & {SINGLE, INDEX}:
        raise refuse("a LoRA adapter, not a whole model; merge it into its base model (peft: merge_and_unload)")
    if "adapter_config.json" in names:
        raise refuse(
            "a LoRA adapter beside whole weights, into which transformers would load it; take adapter_config.json out "
            "of the folder if the weights are merged, else merge it first (peft: merge_and_unload)"
        )
    if "config.json" not in names:
        inside = sorted(path.parent.relative_to(folder) for form in BELOW for path in folder.glob(form))
        hint = f"; there is one below it: {named(inside)}" if inside else ""
        raise refuse(f"not a model folder (no config.json in it){hint}")
    for path in _files(folder):
        if any(
            path.match(pattern)
            for pattern in (*WEIGHT_FILES, *CONFIG_FILES, GENERATION, *TOKENIZER_FILES, *PICKLED_FILES)
        ):
            check_no_pointer(path)
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise refuse("config.json holds no JSON object; fetch it again")
    # A judge, which may be pickled, is asked only, so it may be quantised too.
    problem = kind_problem(config, asked_only=pickled) or _code_problem(config, names, trusted)
    if problem:
        raise refuse(problem)
    if pickled and not names & {SINGLE, INDEX} and any(Path(name).match(PICKLED_FILES[0]) for name in names):
        return
    if problem := _missing_weights(folder, names):
        raise refuse(problem)
    tensors: dict[str, StoredTensor] = {}
    for shard in _shards(folder):
        tensors |= _read_header(folder / shard, refuse)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if problem := ("" if pickled else _packed_weights(tensors)) or _mismatch(config, shapes):
        raise refuse(problem)


def kind_problem(config: Mapping[str, Any], *, asked_only: bool = False) -> str:
    """Why a model of this config is none that predicts the next token, or none that can be trained; empty if it is.

    Args:
        config: the model's ``config.json``.
        asked_only: whether it will not be trained.
    """
    kinds = [str(name) for name in config.get("architectures") or ()]
    if config.get("is_encoder_decoder"):
        return f"an encoder-decoder model ({_named(kinds, config)}); only causal language models can be trained"
    if kinds and all(kind.endswith(OTHER_HEADS) for kind in kinds):
        return f"{kinds[0]} does not predict the next token; give a causal language model"
    return "" if asked_only else _quantised(config)


def _quantised(config: Mapping[str, Any]) -> str:
    found = config.get("quantization_config") or config.get("compression_config")
    if not found:
        return ""
    method = found.get("quant_method", "unknown method") if isinstance(found, dict) else "unknown method"
    return (
        f"a quantised checkpoint ({method}), whose weights cannot be trained; give the model that it was made from, or "
        "save its weights in full precision without quantization_config"
    )


def _code_problem(config: Mapping[str, Any], names: Iterable[str], trusted: bool) -> str:
    """What the config says of code that comes with the model and does not fit."""
    code = config.get("auto_map") or {}
    if not isinstance(code, dict) or not code:
        return ""
    modules = sorted({str(name).rpartition("--")[2].partition(".")[0] for name in code.values() if name})
    if not trusted:
        from transformers import CONFIG_MAPPING

        # Where transformers has the architecture itself, the model's own code is not needed.
        if config.get("model_type") in CONFIG_MAPPING:
            return ""
        needed = ", ".join(f"{name}.py" for name in modules)
        return f"it needs code of its own ({needed}); read that code, then set model.trust_remote_code=true to run it"
    elsewhere = any("--" in str(name) for name in code.values())
    missing = [f"{name}.py" for name in modules if f"{name}.py" not in set(names)]
    if missing and not elsewhere:
        return f"config.json names code that is not there: {', '.join(missing)}; fetch it with the model"
    return ""


def _missing_weights(folder: Path, names: set[str]) -> str:
    if SINGLE in names:
        return ""
    if INDEX in names:
        index = read_json(folder / INDEX)
        if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict) or not index["weight_map"]:
            return f"{INDEX} holds no weight_map; fetch it again"
        missing = sorted(set(map(str, index["weight_map"].values())) - names)
        if missing:
            return f"{len(missing)} of its files are missing, such as {missing[0]}; fetch them (named in {INDEX})"
        return ""
    if any(name.endswith(".safetensors") for name in names - {"adapter_model.safetensors"}):
        return f"neither {SINGLE} nor {INDEX} is there, so its weights cannot be put together; fetch the index too"
    for end in (".bin", ".pth", ".pt"):
        found = sorted(name for name in names if name.endswith(end) and not TRAINING_STATE.match(name))
        if found:
            return (
                f"its weights are pickled ({found[0]}); only safetensors are read: load it once where you trust it and "
                "save it with save_pretrained"
            )
    if packed := sorted(name for name in names if name.endswith(SUFFIX)):
        return f"its weights are in GGUF form; give the file itself: model=gguf model.path={folder / packed[0]}"
    return f"it holds no weights ({SINGLE}); fetch them"


def _shards(folder: Path) -> list[str]:
    if (folder / SINGLE).is_file():
        return [SINGLE]
    return sorted(set(read_json(folder / INDEX)["weight_map"].values()))


class StoredTensor(NamedTuple):
    """What a safetensors header says of one."""

    kind: str
    """As safetensors has it: `F32`, `BF16`, `I8`."""
    shape: list[int]


def _read_header(path: Path, refuse: Any) -> dict[str, StoredTensor]:
    """What the file holds, by name; its size must be what the header says."""
    size = path.stat().st_size
    again = "fetch it again"
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > MAX_HEADER_BYTES:
            raise refuse(f"{path.name} is no safetensors file; {again}")
        header = file.read(length)
    if len(header) < length:
        raise refuse(f"{path.name} is cut: it ends within its header, after {size:,} bytes; {again}")
    try:
        entries: dict[str, Any] = json.loads(header)
        entries.pop("__metadata__", None)
        end = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        tensors = {
            name: StoredTensor(str(entry["dtype"]), [int(side) for side in entry["shape"]])
            for name, entry in entries.items()
        }
    except (ValueError, RecursionError, KeyError, TypeError, IndexError, AttributeError):
        raise refuse(f"{path.name} is no safetensors file (its header cannot be read); {again}") from None
    if size != end:
        cut = "cut: it" if size < end else "damaged: it"
        raise refuse(f"{path.name} is {cut} has {size:,} bytes, and its header says {end:,}; {again}")
    return tensors


def _packed_weights(tensors: Mapping[str, StoredTensor]) -> str:
    """How the weights tell that they are quantised where the config does not: as they are they would be others."""
    for name, tensor in tensors.items():
        is_matrix = name.endswith(".weight") and len(tensor.shape) == 2
        if SCALE.search(name) or (is_matrix and tensor.kind.startswith(("I", "U", "BOOL"))):
            return (
                f"quantised weights ({name} of type {tensor.kind}) without a quantization_config; give the model that "
                "it was made from"
            )
    return ""


def _mismatch(config: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> str:
    """How sizes in the config differ from those of the weights."""
    text = config.get("text_config")
    text = text if isinstance(text, dict) else config
    remedy = "config.json and weights are of different models; fetch both from one place"
    embeddings = {name: shape for name, shape in shapes.items() if EMBEDDING.search(name) and len(shape) == 2}
    rows = text.get("vocab_size")
    if isinstance(rows, int) and embeddings and all(shape[0] != rows for shape in embeddings.values()):
        name, shape = next(iter(embeddings.items()))
        return f"config.json says vocab_size={rows}, but {name} has {shape[0]} rows; {remedy}"
    width = text.get("hidden_size")
    narrow = {"word_embed_proj_dim", "embedding_size"} & set(text)
    if isinstance(width, int) and embeddings and not narrow and all(shape[1] != width for shape in embeddings.values()):
        name, shape = next(iter(embeddings.items()))
        return f"config.json says hidden_size={width}, but {name} is {shape[1]} wide; {remedy}"
    layers = next((text[name] for name in LAYER_FIELDS if isinstance(text.get(name), int)), None)
    places = [(name[: match.start()], int(match[1])) for name in shapes if (match := LAYER.search(name))]
    found = {number for _, number in places}
    if layers is not None and found and len(found) < layers:
        return f"config.json says {layers} layers, but the weights hold {len(found)}; {remedy}"
    # Other parts of a model, as its vision, have layers too; DeepSeek's have some more to predict further tokens with.
    stacks = {stack: len({number for other, number in places if other == stack}) for stack, _ in places}
    more = text.get("num_nextn_predict_layers") or 0
    if layers is not None and stacks and min(stacks.values()) > layers + more:
        return f"config.json says {layers} layers, but the weights hold {min(stacks.values())}; {remedy}"
    return ""


def _named(kinds: list[str], config: Mapping[str, Any]) -> str:
    return kinds[0] if kinds else str(config.get("model_type", "of no named architecture"))
