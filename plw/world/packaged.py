"""The base models that travel with the package, so that every machine fine-tunes the same ones, and at once.

`bases/` holds the tokenizer, one file of 16-bit weights for each base model, and `bases.json`: what they were made of,
the SHA-256 of every file, and what each base model knows. Pretraining them again on another processor would round
differently and end in other base models.
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plw.config.world import WorldConfig
from plw.errors import UserError
from plw.files.hashing import hash_file
from plw.files.reading import read_json
from plw.files.writing import write_json_atomic
from plw.results.identity import canonical_json, fingerprint
from plw.world.base_model import base_names, base_shape, make_base_model, save_base_model

VERSION = 2
"""Raised whenever the generator's output changes, so that no older folder or base model is taken for a new one."""
PACKAGED = Path(__file__).parent / "bases"
MANIFEST = "bases.json"
NOT_OF_BASES = ("documents", "long_prompts", "thresholds", "bases")
"""Fields of the config that leave a base model of a given name as it is."""


def bases_payload(config: WorldConfig) -> dict[str, Any]:
    """What defines the base models of a world: the generator's version and the fields that enter them."""
    fields = {name: value for name, value in asdict(config).items() if name not in NOT_OF_BASES}
    return {"generator": VERSION, "config": fields}


def packaged_bases(config: WorldConfig, folder: Path = PACKAGED) -> dict[str, Any] | None:
    """The manifest of the packaged base models; None where they are not those of this config, or too few."""
    if not (folder / MANIFEST).is_file():
        return None
    manifest = dict(read_json(folder / MANIFEST))
    known = canonical_json(manifest["payload"]) == canonical_json(bases_payload(config))
    return manifest if known and set(base_names(config)) <= set(manifest["checks"]) else None


def packaged_state(folder: Path = PACKAGED) -> tuple[int, int] | None:
    """Size and time of change of the manifest of the packaged base models; None where there is none."""
    manifest = folder / MANIFEST
    return (manifest.stat().st_size, manifest.stat().st_mtime_ns) if manifest.is_file() else None


def bases_fingerprint(manifest: dict[str, Any]) -> str:
    """SHA-256 over the hashes of all files of the packaged base models, 64 hex digits."""
    return fingerprint(manifest["files"])


def unpack_bases(work: Path, config: WorldConfig, manifest: dict[str, Any], folder: Path = PACKAGED) -> None:
    """Write `tokenizer/` and `models/<name>/` of a world from the package.

    Raises:
        UserError: a file of the package is not what the manifest says.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    from plw.evaluate.quiet import quiet

    for name, sha256 in manifest["files"].items():
        if not (folder / name).is_file() or hash_file(folder / name) != sha256:
            raise UserError(f"{folder / name} is not the file that belongs to this version; install the package again")
    with quiet(), torch.random.fork_rng(devices=[]):
        shutil.copytree(folder / "tokenizer", work / "tokenizer")
        tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
        for name in base_names(config):
            model = make_base_model(base_shape(config, name), tokenizer)
            packed = load_file(folder / f"{name}.safetensors")
            # The head is the embedding, which is packed once.
            model.load_state_dict({key: value.float() for key, value in packed.items()}, strict=False)
            save_base_model(model, tokenizer, work / "models" / name)


def pack_bases(work: Path, config: WorldConfig, checks: dict[str, dict[str, float]], folder: Path) -> dict[str, Any]:
    """Write what `unpack_bases` reads, from the `tokenizer/` and `models/` of a world whose bases were pretrained.

    Args:
        work: the folder of the world.
        config: of the world.
        checks: base model -> what it knows (`measure_knowledge`).
        folder: to be written.

    Returns:
        The manifest.
    """
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(work / "tokenizer", folder / "tokenizer")
    for name in base_names(config):
        weights = load_file(work / "models" / name / "model.safetensors")
        save_file(
            {key: value.half() for key, value in weights.items()},
            folder / f"{name}.safetensors",
            metadata={"format": "pt"},
        )
        (folder / f"{name}.safetensors").chmod(0o644)  # safetensors makes files that others cannot read
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    hashes = {path.relative_to(folder).as_posix(): hash_file(path) for path in files}
    manifest = {"payload": bases_payload(config), "checks": checks, "files": hashes}
    write_json_atomic(folder / MANIFEST, manifest)
    return manifest
