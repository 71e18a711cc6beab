"""What a fit of the beta mixed model has to say of itself: singular, simpler than asked for, or without a level."""

import numpy as np

from analysis.arrays import Array
from analysis.glmm.design import Design
from analysis.glmm.likelihood import NONE
from analysis.glmm.optimise import SINGULAR, Problem

NOT_CONVERGED = "not converged: its standard errors and tests cannot be relied on"

UNBOUNDED = (
    "not converged: the scores lie on the curves themselves, so the dispersion has no bound and there is no test"
)


def fallback_message(random_part: str, why: str = "") -> str:
    """The message that the paper's model did not converge and a simpler random part was taken."""
    return f"the paper's model did not converge{f' ({why})' if why else ''}; fallback taken: {random_part}"


def design_messages(design: Design) -> list[str]:
    """Which random intercepts there are too few levels for."""
    lines = []
    if len(design.models) == 1:
        lines.append(f"one base model only ({design.models[0]}): no random intercept of models")
    if len(design.seeds) == 1:
        lines.append(f"one seed only ({design.seeds[0]}): no random intercept of seeds")
    return lines


def singular_messages(problem: Problem, psi_P: Array) -> list[str]:
    """Which variances are 0 and which correlation is 1, one line each; none where the fit is not singular."""
    lines = []
    if problem.slopes != NONE:
        loading_22 = problem.triangle(psi_P)
        spread = np.linalg.svd(loading_22, compute_uv=False)
        deviation_2 = np.sqrt((loading_22**2).sum(axis=1))
        if spread[0] < SINGULAR:
            lines.append("the slopes' variance over benchmarks is 0, which leaves the model without random slopes")
        elif spread[1] < SINGULAR:
            gone = [name for name, value in zip(("w_p", "w_p²"), deviation_2, strict=True) if value < SINGULAR]
            sign = "+1" if loading_22[1] @ loading_22[0] > 0 else "-1"
            what = f"the variance of the slope of {gone[0]} is 0" if gone else f"the slopes' correlation is {sign}"
            lines.append(f"{what}, which leaves slopes that vary along one direction only")
    for name, deviation in problem.deviations(psi_P).items():
        if deviation < SINGULAR * problem.scatter:
            lines.append(f"the variance over {name}s is 0, which leaves the model without that intercept")
    return [f"singular: {line}; standard errors hold it fixed there" for line in lines]
