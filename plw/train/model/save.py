"""The trained model as a folder, whole or absent; and a trial of that before the first step."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from plw.data.tokenizer import save_tokenizer
from plw.errors import UserError
from plw.train.model.load import LoadedModel
from plw.train.model.quiet import quiet_transformers


def save_model(
    loaded: LoadedModel,
    folder: Path,
    *,
    tensors: dict[str, Tensor] | None = None,
    check_lease: Callable[[], None] = lambda: None,
) -> None:
    """Write safetensors, tokenizer and generation config to ``folder``, which is whole or absent at any moment.

    A LoRA update is merged into the weights first.

    Args:
        loaded: the model.
        folder: where it is to be.
        tensors: stand in for the model's own where those are spread over processes.
        check_lease: called once all is written, before it is put in its place: a process that was stopped meanwhile,
            and lost its claim, leaves what another has made there. Raises to stop.
    """
    temporary, old = folder.with_name(f".{folder.name}.tmp"), folder.with_name(f".{folder.name}.old")
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    model = loaded.model if loaded.adapter is None else loaded.adapter.merge_and_unload()
    for name, value in loaded.own_fields.items():
        setattr(model.config.get_text_config(), name, value)
    with quiet_transformers():
        model.save_pretrained(temporary, **({} if tensors is None else {"state_dict": tensors}))
    save_tokenizer(loaded.tokenizer, temporary)
    try:
        check_lease()
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def check_saving(loaded: LoadedModel) -> None:
    """Save all but the weights to a folder that is removed again: what fails here would fail after the last step.

    Raises:
        UserError: config, generation config or tokenizer cannot be saved; the line has transformers' own reason.
    """
    with tempfile.TemporaryDirectory(prefix="plw-dry-save-") as folder:
        try:
            loaded.model.config.save_pretrained(folder)
            if loaded.model.generation_config is not None:
                loaded.model.generation_config.save_pretrained(folder)
            loaded.tokenizer.save_pretrained(folder)
        except OSError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{loaded.path}: this model could be trained but not saved ({reason}); mend its config files"
            ) from None
