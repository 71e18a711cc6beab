"""A run tracker beside the registry: wandb, offline unless a key is set. What it shows is never read back."""

import os
from pathlib import Path
from typing import Any, Protocol

from plw.config import TrackerConfig
from plw.score import Score


class Tracker(Protocol):
    """One cell's run."""

    def step(self, row: dict[str, Any]) -> None:
        """Show one training step's row."""

    def scores(self, scores: list[Score]) -> None:
        """Show scores in the run's summary."""

    def close(self) -> None:
        """Write out what is left."""


class NoTracker:
    """Shows nothing."""

    def step(self, row: dict[str, Any]) -> None:
        """Nothing to show it on."""

    def scores(self, scores: list[Score]) -> None:
        """Nothing to show them on."""

    def close(self) -> None:
        """Nothing is open."""


class WandbTracker:
    """One wandb run; its id is the cell's, so a cell that is continued continues its run."""

    def __init__(
        self, config: TrackerConfig, *, folder: Path, run_id: str, name: str, group: str, fields: dict[str, Any]
    ):
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        online = config.mode == "online" or (config.mode == "auto" and bool(os.environ.get("WANDB_API_KEY")))
        folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            console="off", silent=True, x_disable_stats=True, x_disable_meta=True, disable_git=True, disable_code=True
        )
        self._run = wandb.init(
            project=config.project,
            mode="online" if online else "offline",
            dir=str(folder),
            id=run_id,
            name=name,
            group=group,
            config=fields,
            resume="allow" if online else None,
            settings=settings,
        )

    def step(self, row: dict[str, Any]) -> None:
        """Log the row's numbers at its step; missing ones are left out."""
        values = {key: value for key, value in row.items() if value is not None and key != "step"}
        self._run.log(values, step=row["step"])

    def scores(self, scores: list[Score]) -> None:
        """Headline scores as ``benchmark``, the others as ``benchmark/metric``."""
        for score in scores:
            name = score.benchmark if score.headline else f"{score.benchmark}/{score.metric}"
            self._run.summary[name] = score.value

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def open_tracker(
    config: TrackerConfig, *, folder: Path, run_id: str, name: str, group: str, fields: dict[str, Any]
) -> Tracker:
    """The tracker that the config names."""
    if config.name == "none":
        return NoTracker()
    return WandbTracker(config, folder=folder, run_id=run_id, name=name, group=group, fields=fields)
