"""A GGUF file unpacked to a model folder in full precision, with transformers' own reader."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from plw.data.tokenizer import save_tokenizer
from plw.errors import StorageError, UserError, shortened
from plw.files.construction import under_construction
from plw.files.hashing import file_hash
from plw.files.storage import storage_error
from plw.files.writing import write_json_atomic
from plw.pretrained.gguf_file import UNPACKED
from plw.train.model.quiet import quiet_transformers

MAX_NAMED_WEIGHTS = 3
"""Weights that a message names one by one."""


def unpack_gguf(file: Path, folder: Path) -> None:
    """Dequantise a GGUF file to ``folder``: config, fp32 weights as safetensors, tokenizer, chat template.

    Nothing is done where the folder is whole already. Several processes may do it at the same time; each has a folder
    of its own, and the first to finish names it.

    Args:
        file: the GGUF file.
        folder: whole or absent at any moment.

    Raises:
        UserError: the package `gguf` is missing, transformers cannot read the file or drops some of it, or it lacks
            weights; the line has the reason.
        StorageError: the disk takes no more.
    """
    if (folder / UNPACKED).is_file():
        return
    try:
        with under_construction(folder, UNPACKED) as work:
            _write(file, work)
            write_json_atomic(work / UNPACKED, {"file": file.name, "sha256": file_hash(file)})
    except OSError as error:
        problem: UserError | StorageError | None = storage_error(error, str(folder))
        raise problem or UserError(f"{folder}: cannot be written ({error.strerror})") from None


def _write(file: Path, folder: Path) -> None:
    try:
        import gguf  # noqa: F401 - transformers needs it and says so in many lines
    except ImportError:
        raise UserError(f"{file}: GGUF files are read by the package gguf; pip install 'plw[gguf]'") from None
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        # Its bar of tensors goes to stderr whatever transformers' own switch says.
        with quiet_transformers(), redirect_stderr(io.StringIO()):
            left_out = _left_out(file)
            loaded: Any = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32, output_loading_info=True)
            read, told = loaded
            tokenizer = AutoTokenizer.from_pretrained(**place)
    except OSError as error:
        if error.errno is not None:
            raise
        raise _unreadable(file, error) from None
    except MemoryError:
        raise
    except Exception as error:  # Its reader fails in as many ways as files can be damaged.
        raise _unreadable(file, error) from None
    if missing := sorted(told["missing_keys"]):
        # transformers has drawn them at random.
        raise UserError(
            f"{file}: it lacks weights of its model ({_named(missing)}); "
            "fetch it again whole, or give the folder of the model that it was made from"
        )
    if any(name.endswith(".bias") for name in read.state_dict()):
        left_out = [name for name in left_out if not name.endswith(".bias")]
    if left_out:
        raise UserError(
            f"{file}: transformers' reader leaves out what it holds ({_named(left_out)}), so it would be "
            "another model; give the folder of the model that it was made from"
        )
    # transformers refuses to save what was quantised; the same weights in a new model are not.
    config = type(read.config).from_dict(
        {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    )
    with torch.device("meta"):
        model: Any = type(read)(config)
    model.to_empty(device="cpu")
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.generation_config = read.generation_config
    with quiet_transformers():
        model.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)


def _left_out(file: Path) -> list[str]:
    """What of a file transformers' reader may drop without a word.

    Biases, where the model has none by its architecture, and scaled rotations of positions, but for gpt-oss's.
    """
    import gguf

    reader = gguf.GGUFReader(file)
    tensors = [
        tensor.name
        for tensor in reader.tensors
        if tensor.name.endswith(".bias") or (tensor.name.startswith("rope_f") and (tensor.data != 1).any())
    ]
    scaled = [
        name
        for name, field in reader.fields.items()
        if name.endswith(".rope.scaling.type") and field.contents() != "none" and not name.startswith("gpt-oss.")
    ]
    return sorted(scaled) + sorted(tensors)


def _named(weights: list[str]) -> str:
    return ", ".join(weights[:MAX_NAMED_WEIGHTS]) + ", ..." * (len(weights) > MAX_NAMED_WEIGHTS)


def _unreadable(file: Path, error: Exception) -> UserError:
    reason = shortened(" ".join(str(error).split()), 200)
    return UserError(
        f"{file}: no model can be unpacked from it ({type(error).__name__}: {reason}); fetch it again, or give the "
        "folder of the model that it was made from"
    )
