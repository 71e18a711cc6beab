"""`plw world`: the embedded world, built before a sweep needs it, and the base models that travel with the package."""

from pathlib import Path
from typing import Annotated

import typer

from plw.commands.choice import ConfigDir, Overrides, chosen_cell, refuse_file_names
from plw.errors import UserError

world_app = typer.Typer(help="The embedded world and its base models.", no_args_is_help=True)


@world_app.command("build")
def world_build(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Build the world that the fields choose, as the first run would; base models that do not travel are pretrained."""
    from plw import world
    from plw.runtime.console import console, step_bar

    config, out_console = chosen_cell(overrides, config_dir), console()
    with step_bar("world", out_console) as progress:
        folder = world.build(config.world, config.execution.cache_folder, progress, always_verify=True)
    out_console.print(f"world: {folder}", markup=False)


@world_app.command("pretrain")
def world_pretrain(
    out: Annotated[Path, typer.Option(help="Folder to write; of a checkout, plw/world/bases.")],
    overrides: Overrides = None,
    config_dir: ConfigDir = None,
) -> None:
    """Pretrain every base model again and write what travels with the package. Other processors round differently."""
    from plw.runtime.console import console, step_bar
    from plw.world.builder import pretrain_to_package
    from plw.world.packaged import MANIFEST, bases_fingerprint

    refuse_file_names(overrides, "--out")
    config, out_console = chosen_cell(overrides, config_dir), console()
    if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} is not empty and holds no {MANIFEST}; name a folder that is new, or one of these")
    with step_bar("pretraining", out_console) as progress:
        manifest = pretrain_to_package(config.world, out, progress)
    for name, checks in manifest["checks"].items():
        out_console.print(f"{name}: {', '.join(f'{check} {value:.2f}' for check, value in checks.items())}")
    out_console.print(f"fingerprint: {bases_fingerprint(manifest)}")
