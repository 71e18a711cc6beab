"""`plw publish`: what `execution.publish` lacks of a study's finished stages and reports is copied there."""

import typer

from plw.commands.choice import ConfigDir, Overrides, chosen_cell
from plw.errors import StageError


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(publish)


def publish(overrides: Overrides = None, config_dir: ConfigDir = None) -> None:
    """Copy what `execution.publish=ADDRESS` lacks of a study: records and items of finished stages, and reports."""
    from plw.paths import RECORD
    from plw.pipeline.publishing import PAGE, check_publish, publish_missing, publish_report
    from plw.progress import count
    from plw.runtime.console import console, step_bar
    from plw.sweep.summary import print_unpublished

    config, out_console = chosen_cell(overrides, config_dir), console()
    home = config.study_folder
    check_publish(config)
    with step_bar("publish", out_console) as progress:
        found = publish_missing(config, sorted(path.parent for path in home.glob(f"*/*/*/*/{RECORD}")), progress)
    for page in sorted(home.glob(f"*/{PAGE}")):
        of_report = publish_report(config, page.parent)
        found.copied += of_report.copied
        found.failed |= of_report.failed
    said = f"{count(found.copied, 'file')} copied, {found.present:,} there already"
    out_console.print(f"{config.execution.publish}: {said}", markup=False)
    if found.failed:
        print_unpublished(found.failed, out_console)
        raise StageError(f"{count(len(found.failed), 'file')} not published; the same command tries again")
