"""Simulated studies, written through the registry itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from simulated_study import RATIOS, WEIGHTS, headline, simulated_scores, write_stage

from plw.registry.rows import CellRow
from plw.registry.store import Registry
from plw.score import Score


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., tuple[str, Path]]:
    """Write a whole study; returns the registry's address and the runs folder."""

    def make(
        *,
        weights: tuple[float, ...] = WEIGHTS,
        datasets: tuple[str, ...] = ("data", "cleaned", "short"),
        models: tuple[str, ...] = ("wide", "deep"),
        skip: Callable[[CellRow, str], bool] = lambda cell, benchmark: False,
        value: Callable[[CellRow, str, float], float] = lambda cell, benchmark, simulated: simulated,
        name: str = "study",
    ) -> tuple[str, Path]:
        url, runs = f"sqlite:///{tmp_path}/{name}/registry.sqlite", tmp_path / name / "runs"
        generator = np.random.default_rng(7)
        with Registry.open(url) as registry:
            for dataset in datasets:
                for model in models:
                    for weight in weights:
                        r_g = RATIOS.get(dataset, 1.0)
                        number = sum(1 for _ in registry.cells())
                        cell = registry.ensure_cell(CellRow(
                            study="plw", scale="mini", cell=f"{number:064x}", dataset=dataset, model=model,
                            prompt_weight=weight, response_weight=1.0, normalizer="nonzero", scope="batch", seed=42,
                            r_g=r_g, folder=f"plw-mini/d{datasets.index(dataset)}/m{models.index(model)}/p{weight:g}",
                            payload="{}", created=1.0,
                        ))  # fmt: skip
                        w_p = weight**0.30103
                        data = {
                            "instruction_mean": 13.4, "instruction_sd": 4.97, "input_mean": 6.25, "input_sd": 14.38,
                            "completion_mean": 64.51 * r_g, "completion_sd": 64.85, "total_tokens": 4376482, "r_g": r_g,
                            "r_g_mean_of_ratios": r_g * 1.3, "examples": 400, "truncated": 3, "without_completion": 0,
                        }  # fmt: skip
                        write_stage(registry, runs, cell, "train", [], data=data)
                        simulated = simulated_scores(generator, dataset, w_p)
                        write_stage(registry, runs, cell, "harness", [
                            headline(benchmark, value(cell, benchmark, score))
                            for benchmark, score in simulated.items() if not skip(cell, benchmark)
                        ])  # fmt: skip
                        short, noise = dataset == "short", generator.normal(1, 0.04, size=(4,))
                        write_stage(registry, runs, cell, "diagnose", [
                            Score(suite="world", benchmark=benchmark, metric=metric, value=float(number * factor))
                            for (benchmark, metric, number), factor in zip((
                                ("loss_rsd", "mean", 0.12 - 0.05 * w_p + 0.05 * short),
                                ("weight_distance", "l2", 8.0 + 5 * w_p**2 - 1.2 * short),
                                ("memorisation", "bleu", 50 - 24 * w_p - 10 * short),
                                ("generation_length", "tokens", 44 - 38 * short * (1 - w_p)),
                            ), noise, strict=True)
                        ])  # fmt: skip
        return url, runs

    return make
