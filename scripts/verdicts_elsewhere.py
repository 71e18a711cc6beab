"""Does the mini study say the same under other instruction sets, and from either half of its base models?

    python scripts/verdicts_elsewhere.py FOLDER             # runs what is missing there, a study a setting; compares
    python scripts/verdicts_elsewhere.py FOLDER --no-run    # compares what is there

The processor's own instructions, AVX2 alone and none of the vector kernels round differently, as other processors do.
From every study the verdicts are taken of all base models, and of both halves of every split of them into two halves.
Two verdicts contradict each other where one says up (or a peak) and the other down (or a dip). *Undecided*: nothing is
shown to move.
"""

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import stats

from analysis.inference.verdicts import ScopeVerdict, VerdictScope, scope_verdicts
from analysis.scores.frame import TidyFrame
from analysis.scores.study import read_study, study_frame
from plw.commands.choice import chosen_cell

SETTINGS = {
    "as it is": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"},
    "no vector kernels": {"ATEN_CPU_CAPABILITY": "default"},
}
"""Name -> what is put into the environment."""
FOLDERS = {"as it is": "native", "AVX2": "avx2", "no vector kernels": "default"}
STUDY = ("study=plw", "scale=mini")
SIGNS = {"up": 1, "peak": 1, "down": -1, "dip": -1}

Verdicts = dict[tuple[str, str], ScopeVerdict]
"""(dataset, kind of benchmark) -> its verdict."""


def choices(runs: Path) -> list[str]:
    """The words of the study in a folder of its own."""
    return [
        *STUDY,
        f"execution.runs={runs}",
        f"registry.url=sqlite:///{runs.absolute()}/registry.sqlite",
        "tracker=none",
    ]


def run(runs: Path, environment: dict[str, str]) -> None:
    """Run the grid; what is there already is not run again."""
    runs.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "plw", "run", "-m", *choices(runs)]
    subprocess.run(command, check=True, env=os.environ | environment, stdout=subprocess.DEVNULL)


def frame_of(runs: Path) -> TidyFrame:
    """The scores of the study in a folder."""
    config = chosen_cell(choices(runs))
    return study_frame(read_study(config.registry.url, runs, study=config.study.name, scale=config.scale.name))


def verdicts(frame: TidyFrame, bases: tuple[str, ...] | None = None) -> Verdicts:
    """By dataset and kind of benchmark, from all base models or some."""
    rows = frame.rows if bases is None else frame.rows[frame.rows["model"].isin(bases)]
    found = scope_verdicts(replace(frame, rows=rows))
    return {(one.dataset, one.name): one for one in found if one.scope == VerdictScope.GROUP}


def halves(names: list[str]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Every way to split the base models into two halves."""
    for first in combinations(names, len(names) // 2):
        if names[0] in first:
            yield first, tuple(name for name in names if name not in first)


def word(verdict: ScopeVerdict) -> str:
    """The verdict in a word."""
    return "undecided" if not verdict.moved else verdict.direction or "not in its mean"


def contradict(one: ScopeVerdict, other: ScopeVerdict) -> bool:
    """Whether both are decided, and against each other."""
    return {SIGNS.get(word(one), 0), SIGNS.get(word(other), 0)} == {1, -1}


def within(one: ScopeVerdict, other: ScopeVerdict) -> bool:
    """Whether the largest change that one study found is one that the other does not exclude."""
    if None in (one.at_0, one.at_1, other.excluded):
        return True
    changes = [abs(at - one.at_0) for at in (one.at_best, one.at_1, one.at_lowest)]  # type: ignore[operator]
    return max(changes) <= other.excluded  # type: ignore[operator]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds a runs folder for each setting")
    parser.add_argument("--no-run", action="store_true", help="compare what is there")
    options = parser.parse_args()
    frames = {}
    for name, environment in SETTINGS.items():
        runs = options.folder / FOLDERS[name]
        if not options.no_run:
            run(runs, environment)
        if (runs / "registry.sqlite").exists():
            frame = frame_of(runs)
            axes = [frame.rows[axis].nunique() for axis in ("dataset", "model", "prompt_weight", "benchmark")]
            if len(frame.rows) == np.prod(axes):
                frames[name] = frame
            else:
                print(f"{runs}: left out, it is not finished", file=sys.stderr)
    whole = {name: verdicts(frame) for name, frame in frames.items()}
    halved: dict[tuple[str, str], Counter[str]] = {}
    flips: Counter[tuple[str, str]] = Counter()
    splits = outside = compared = 0
    for frame in frames.values():
        for first, second in halves(sorted(frame.rows["model"].unique())):
            one, other = verdicts(frame, first), verdicts(frame, second)
            splits += 1
            for key in one:
                halved.setdefault(key, Counter()).update([word(one[key]), word(other[key])])
                flips[key] += contradict(one[key], other[key])
                outside += (not within(one[key], other[key])) + (not within(other[key], one[key]))
                compared += 2
    print(f"| dataset, kind | {' | '.join(frames)} | halves: {splits} splits, {2 * splits} verdicts | contradicting |")
    print("| --- |" + " --- |" * (len(frames) + 1) + " ---: |")
    for key in next(iter(whole.values())):
        told = [f"{word(found[key])} ({_change(found[key])})" for found in whole.values()]
        counts = ", ".join(f"{name} {number}" for name, number in halved[key].most_common())
        print(f"| {key[0]}, {key[1].replace('_', ' ')} | {' | '.join(told)} | {counts} | {flips[key]} |")
    across = [(one[key], other[key]) for one, other in combinations(whole.values(), 2) for key in one]
    excluding = sum(not (within(one, other) and within(other, one)) for one, other in across)
    print(
        f"\nBetween settings: {sum(contradict(one, other) for one, other in across)} of {len(across)} verdicts "
        f"contradict; {excluding} pairs have a change that the other excludes.\n"
        f"Between halves: {sum(flips.values())} of {compared // 2} contradict; {outside} of {compared} largest changes "
        "are outside the other half's bound."
    )
    print("\n| PLW | " + " | ".join(frames) + " |\n| --- |" + " ---: |" * len(frames))
    for dataset in dict.fromkeys(dataset for dataset, _ in next(iter(whole.values()))):
        for weight in sorted(next(iter(frames.values())).rows["prompt_weight"].unique()):
            cells = [_mean(frame, dataset, weight) for frame in frames.values()]
            print(f"| {dataset}, {weight:g} | {' | '.join(cells)} |")


def _change(verdict: ScopeVerdict) -> str:
    """The curve's change at the largest weight, in points of the full range, with the bound."""
    if verdict.at_1 is None or verdict.at_0 is None:
        return "–"
    scale = 100 / verdict.scale
    return f"{(verdict.at_1 - verdict.at_0) * scale:+.1f}, at most {(verdict.excluded or 0) * scale:.1f}"


def _mean(frame: TidyFrame, dataset: str, weight: float) -> str:
    """Mean over benchmarks at a weight with its 95 % interval over base models."""
    rows = frame.rows[(frame.rows["dataset"] == dataset) & (frame.rows["prompt_weight"] == weight)]
    base_A = rows.groupby("model")["score01"].mean().to_numpy()
    half = stats.t.ppf(0.975, len(base_A) - 1) * base_A.std(ddof=1) / np.sqrt(len(base_A))
    return f"{base_A.mean():.4f} ± {half:.4f}"


if __name__ == "__main__":
    main()
