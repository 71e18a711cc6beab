"""All evidence on the prompt weight for data of one generation ratio: who speaks of it, what they say, how they agree.

A source speaks about a ratio that lies within its own, or within a factor of two of one of its datasets. Sources agree
where the weights that they name lie within 0.2 of each other on the paper's scale w_p = PLW ** 0.30103.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import log
from typing import Any

from analysis.inference.nearest import NearestVerdicts
from analysis.inference.recommend import ALL, Recommendation
from analysis.inference.verdicts import Undecided, VerdictScope
from analysis.published.pocket import pocket_gain, pocket_ratios, read_pocket
from analysis.published.weight_gain import WeightGain
from analysis.published.wit_weights import wit_gain
from analysis.scores.frame import weight_scale
from analysis.scores.published import DATASET_NAMES, OPTIMUM, TABLE_1, TABLE_3, TABLE_4

NEAR_FACTOR = 2.0
AGREES_WITHIN = 0.2
"""On the scale of w_p: 0.1 and 0.242 are 0.15 apart, 0.1 and 1 are 0.5."""
TASK_KINDS = tuple(TABLE_4)
GROUP_KINDS = {"multiple_choice": "multiple choice", "short_generation": "generation", "long_generation": "generation"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a source says of one kind of task."""

    weight: float | None
    """The weight that it names; None where no weight is shown to be better than another."""
    words: str
    decided: bool = True
    """Whether the source could tell at all: not from too few cells, nor from scores that never vary."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One source."""

    source: str
    ratios: str
    """The generation ratios of its data, for people."""
    near: bool
    """Whether it speaks about the ratio that was asked for."""
    counts: bool = True
    """Whether its base models are like those that the advice is for; the embedded world's are not."""
    findings: Mapping[str, Finding] = field(default_factory=dict)
    """Kind of task -> what is said of it; a kind that is absent was not looked at."""

    @property
    def speaks(self) -> bool:
        """Whether it enters the agreement."""
        return self.near and self.counts

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        found = {kind: finding.to_dict() for kind, finding in self.findings.items()}
        return asdict(self) | {"speaks": self.speaks, "findings": found}


def is_near(r_g: float, *ratios: float) -> bool:
    """Whether one of a source's ratios is within a factor of two."""
    return any(abs(log(r_g / ratio)) <= log(NEAR_FACTOR) for ratio in ratios)


def all_evidence(
    advice: Recommendation, nearest: NearestVerdicts | None, *, registry: str, like_yours: bool
) -> list[Evidence]:
    """What there is, the paper first.

    Args:
        advice: for the ratio, with Table 4 and the ratio model of the registry.
        nearest: the registry's verdicts on its dataset of the nearest ratio.
        registry: how the study of the registry is called.
        like_yours: whether its base models are like those that the advice is for.
    """
    r_g = advice.r_g
    found = [_table_4(advice), _table_3(r_g), *_ratio_model(advice, registry, like_yours=like_yours)]
    if nearest is not None:
        found.append(_verdicts(nearest, r_g, registry, like_yours=like_yours))
    found.append(_wit(r_g))
    return [*found, *_pocket(r_g)]


def agreement(evidence: Sequence[Evidence], r_g: float) -> dict[str, str]:
    """Kind of task -> in a sentence, how far the sources that speak about the ratio agree."""
    return {kind: _agreement(kind, evidence, r_g) for kind in TASK_KINDS}


def _agreement(kind: str, evidence: Sequence[Evidence], r_g: float) -> str:
    found = [item.findings[kind] for item in evidence if item.speaks and kind in item.findings]
    told = [finding for finding in found if finding.decided]
    weights = sorted(finding.weight for finding in told if finding.weight is not None)
    flat, silent = len(told) - len(weights), len(found) - len(told)
    if not found:
        return f"no source speaks about R_g {r_g:.3g}"
    sources = f"{len(found)} source{'s' * (len(found) > 1)}"
    if not told:
        return f"{sources}: none can tell"
    rest = f"; {silent} cannot tell" if silent else ""
    if not weights:
        return f"{sources}: no weight is shown to be better than another{rest}"
    spread = f"{weights[0]:.2g}" if len(weights) == 1 else f"{weights[0]:.2g} to {weights[-1]:.2g}"
    apart = weight_scale(weights[-1]) - weight_scale(weights[0])
    named = f"{len(weights)} of {sources} name{'s' * (len(weights) == 1)} a weight, {spread}"
    if len(weights) > 1:
        named += f", {'near each other' if apart <= AGREES_WITHIN else 'far apart'} ({apart:.2f} in w_p)"
    return f"{named}; {flat} show{'s' * (flat == 1)} none to be better{rest}" if flat else f"{named}{rest}"


def _table_4(advice: Recommendation) -> Evidence:
    rows = sorted(TABLE_4[ALL])
    return Evidence(
        source="PLW paper, Table 4 (ratio model)",
        ratios=f"{rows[0]:g} to {rows[-1]:g}",
        near=rows[0] <= advice.r_g <= rows[-1],
        findings={
            item.aggregate: Finding(
                weight=item.plw, words="it hardly matters" if item.plw is None else f"{item.plw:.2g}"
            )
            for item in advice.published
        },
    )


def _table_3(r_g: float) -> Evidence:
    """The paper's regression of the dataset whose ratio is the nearest."""
    ratios = {name: ratio for name in TABLE_3 if (ratio := TABLE_1[name]["r_g"]) is not None}
    name = min(ratios, key=lambda other: abs(log(ratios[other] / r_g)))
    weight, p = OPTIMUM.get(name), TABLE_3[name]["p"]
    words = f"{weight:.2g} (p < 0.001)" if weight is not None else f"no effect shown (p = {p:.2g})"
    return Evidence(
        source=f"PLW paper, Table 3 ({DATASET_NAMES[name]})",
        ratios=f"{ratios[name]:.2g}",
        near=is_near(r_g, ratios[name]),
        findings={ALL: Finding(weight=weight, words=words)},
    )


def _ratio_model(advice: Recommendation, registry: str, *, like_yours: bool) -> list[Evidence]:
    findings = {}
    for item in advice.own:
        best = item.optimum
        if best is None:
            continue
        interval = f"{best.plw:.2g} ({best.low:.2g} to {best.high:.2g})"
        undecided = best.starred or best.undetermined
        words = f"it hardly matters (best {interval})" if best.starred else interval
        findings[item.aggregate] = Finding(
            weight=None if undecided else best.plw,
            words=f"cannot tell ({best.low:.2g} to {best.high:.2g})" if best.undetermined else words,
            decided=not best.undetermined,
        )
    if not findings:
        return []
    source = f"this registry's ratio model ({registry})"
    return [Evidence(source=source, ratios="around it", near=True, counts=like_yours, findings=findings)]


def _verdicts(nearest: NearestVerdicts, r_g: float, registry: str, *, like_yours: bool) -> Evidence:
    findings: dict[str, Finding] = {}
    for verdict in nearest.verdicts:
        kind = GROUP_KINDS.get(verdict.name) if verdict.scope is VerdictScope.GROUP else ALL
        if verdict.scope is VerdictScope.BENCHMARK or kind is None:
            continue
        better = verdict.moved and verdict.direction in ("up", "peak")
        points = 100 / verdict.scale
        p = verdict.p if verdict.p_holm is None else verdict.p_holm
        if better and verdict.best_weight is not None:
            surely = "" if p is None else f" (p = {p:.2g})"
            weight = verdict.best_weight if verdict.highest is None else verdict.highest.weight
            finding = Finding(weight=weight, words=f"{weight:.2g}{surely}")
        elif verdict.same:
            finding = Finding(weight=None, words="the same scores at every weight", decided=False)
        elif p is None:
            few = "one weight alone" if verdict.undecided == Undecided.ONE_WEIGHT else "too few cells to decide"
            finding = Finding(weight=None, words=few, decided=False)
        elif verdict.moved:
            finding = Finding(weight=None, words=f"moved: {verdict.direction or 'benchmarks, not their mean'}")
        else:
            bound = "" if verdict.excluded is None else f" (above {verdict.excluded * points:.2g} points excluded)"
            finding = Finding(weight=None, words=f"no effect shown{bound}")
        # Of short and long generation the one that names a weight speaks for both.
        if kind not in findings or findings[kind].weight is None:
            findings[kind] = finding
    return Evidence(
        source=f"this registry ({registry}, {nearest.dataset})",
        ratios=f"{nearest.r_g:.2g}",
        near=is_near(r_g, nearest.r_g),
        counts=like_yours,
        findings=findings,
    )


def _wit(r_g: float) -> Evidence:
    """Its other two datasets have no published generation ratio."""
    ratio = TABLE_1["cleaned"]["r_g"]
    assert ratio is not None
    return Evidence(
        source="WIT paper's grid (Alpaca-Cleaned, 5 base models)",
        ratios=f"{ratio:.2g}",
        near=is_near(r_g, ratio),
        findings={kind: _of_gain(wit_gain(kind)) for kind in TASK_KINDS},
    )


def _pocket(r_g: float) -> list[Evidence]:
    rows = read_pocket()
    ratios = {} if rows is None else pocket_ratios(rows)
    if rows is None or not ratios:
        return []
    name = min(ratios, key=lambda other: abs(log(ratios[other] / r_g)))
    gains = {kind: pocket_gain(rows, name, kind) for kind in TASK_KINDS}
    return [
        Evidence(
            source=f"pocket study ({name})",
            ratios=f"{ratios[name]:.2g}",
            near=is_near(r_g, ratios[name]),
            findings={kind: _of_gain(gain) for kind, gain in gains.items() if gain is not None},
        )
    ]


def _of_gain(gain: WeightGain) -> Finding:
    interval = f"{gain.gain:+.2g} points, {gain.low:+.2g} to {gain.high:+.2g}"
    if gain.shown:
        return Finding(weight=gain.weight, words=f"{gain.weight:.2g} ({interval})")
    return Finding(weight=None, words=f"no effect shown (best {gain.weight:.2g}: {interval})")
