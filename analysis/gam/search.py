"""The search for the smoothing parameters: the lowest point of REML or ML, and for GCV the point where mgcv rests."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.arrays import Array
from analysis.gam.criteria import CRITERIA, Curve, in_mgcv

Criterion = Callable[[Array], tuple[float, Array]]

BOUNDS = (-20.0, 25.0)
"""Of a log smoothing parameter on mgcv's scale: at both ends the surface has long stopped to change."""
SMOOTHING_STARTS = np.arange(-12.0, 21.0, 4.0)
STEP_LIMIT = 5.0
MAX_STEPS, MAX_HALVINGS = 100, 30
FLAT = 1e-8
"""A likelihood whose gradient is smaller than this, for one score, has reached its top or its plateau."""
GCV_TOLERANCE = 1e-7
"""mgcv's: GCV rests where a step changes it by less than this times (1 + GCV)."""
LEAP, LEAPS = 2.0, 5
"""What mgcv tries from the point of rest: each log smoothing parameter further by 2, while that is lower, to 10."""


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """Log smoothing parameters for w and r, and the criterion there."""

    rho_2: Array
    value: float
    converged: bool


def minimise(curve: Curve, method: str, gcv_tolerance: float = GCV_TOLERANCE) -> Minimum:
    """The smoothing parameters of ``gcv``, ``reml`` or ``ml``.

    Likelihoods: a coarse grid finds the valley, Newton's method its lowest point. Where the criterion falls towards a
    bound for ever, any point of the plateau serves: the surface is the same.

    GCV: mgcv starts at ``first_guess`` and ends when a step changes the criterion by less than an absolute 1e-7. Scores
    between 0 and 1 have a GCV of about 1e-3, and for them that is well before the minimum, in a flat valley; the
    surface may still be 3e-4 of the score range away from where it would end. So that fits compare, the same path is
    gone to the same point; a smaller tolerance goes on to the minimum, as it does in mgcv.
    """

    def criterion(rho_2: Array) -> tuple[float, Array]:
        return CRITERIA[method](curve, rho_2)

    if method == "gcv":
        return _rest(criterion, first_guess(curve), gcv_tolerance)
    starts = [np.array([w, r]) for w in SMOOTHING_STARTS for r in SMOOTHING_STARTS]
    return _lowest(criterion, min(starts, key=lambda start: criterion(start)[0]), FLAT * curve.n)


def first_guess(curve: Curve) -> Array:
    """Where mgcv starts: penalties as large as X'X, then by tens until 0.4 of the penalised freedom is left."""
    tensor = curve.tensor
    columns = len(tensor.mean_C)
    gram_C = np.diag(in_mgcv(curve.gram_PP[-columns:, -columns:], tensor))
    penalty_2C = np.stack([np.diag(in_mgcv(np.diag(penalty_C), tensor)) for penalty_C in tensor.penalty_2C])
    smoothing_2 = np.array([gram_C[row > 0].mean() / row[row > 0].mean() for row in penalty_2C])
    bearing_C = penalty_2C.sum(axis=0) > 0
    gram_C, penalty_C = gram_C[bearing_C], (smoothing_2 @ penalty_2C)[bearing_C]
    tens = 0
    while np.mean(gram_C / (gram_C + penalty_C * 10.0**tens)) > 0.4:
        tens += 1
    while np.mean(gram_C / (gram_C + penalty_C * 10.0**tens)) < 0.4:
        tens -= 1
    guess_2: Array = np.log(smoothing_2) + tens * np.log(10)
    return guess_2


def _rest(criterion: Criterion, rho_2: Array, tolerance: float) -> Minimum:
    """GCV's path: Newton where the criterion is convex, else one unit down the gradient."""
    value, gradient_2 = criterion(rho_2)
    converged = False
    for _ in range(MAX_STEPS):
        curvature_2, axis_22 = np.linalg.eigh(_hessian(criterion, rho_2))
        if curvature_2[0] > 0:
            step_2 = -axis_22 @ ((axis_22.T @ gradient_2) / curvature_2)
            step_2 *= min(1.0, STEP_LIMIT / np.abs(step_2).max())
        else:
            step_2 = -gradient_2 / max(np.abs(gradient_2).max(), np.finfo(float).tiny)
        found = _descend(criterion, rho_2, value, step_2)
        if found is None:
            converged = True
            break
        before, (rho_2, value, gradient_2) = value, found
        converged = before - value <= tolerance * (1 + value)
        if converged:
            break
    return _leap(criterion, Minimum(rho_2=rho_2, value=value, converged=converged))


def _leap(criterion: Criterion, at: Minimum) -> Minimum:
    rho_2, value = at.rho_2.copy(), at.value
    for place in (0, 1):
        for way in (LEAP, -LEAP):
            leaps = 0
            while leaps < LEAPS:
                there_2 = rho_2 + way * np.eye(2)[place]
                found = criterion(there_2)[0]
                if not found < value:
                    break
                rho_2, value, leaps = there_2, found, leaps + 1
    return Minimum(rho_2=rho_2, value=value, converged=at.converged)


def _lowest(criterion: Criterion, rho_2: Array, flat: float) -> Minimum:
    value, gradient_2 = criterion(rho_2)
    for _ in range(MAX_STEPS):
        if np.abs(_inward(rho_2, gradient_2)).max() < flat:
            break
        curvature_2, axis_22 = np.linalg.eigh(_hessian(criterion, rho_2))
        size_2 = np.maximum(np.abs(curvature_2), 1e-12 * np.abs(curvature_2).max() + np.finfo(float).tiny)
        step_2 = -axis_22 @ ((axis_22.T @ gradient_2) / size_2)
        step_2 *= min(1.0, STEP_LIMIT / np.abs(step_2).max())
        found = _descend(criterion, rho_2, value, step_2)
        if found is None:
            break
        rho_2, value, gradient_2 = found
    # Rounding may end the descent a little before the gradient is that small.
    converged = bool(np.abs(_inward(rho_2, gradient_2)).max() < 1e3 * flat)
    return Minimum(rho_2=rho_2, value=value, converged=converged)


def _descend(criterion: Criterion, rho_2: Array, value: float, step_2: Array) -> tuple[Array, float, Array] | None:
    """The step, halved until it descends; None where it never does."""
    for _ in range(MAX_HALVINGS):
        there_2 = np.clip(rho_2 + step_2, *BOUNDS)
        found, gradient_2 = criterion(there_2)
        if found < value:
            return there_2, found, gradient_2
        step_2 = step_2 / 2
    return None


def _hessian(criterion: Criterion, rho_2: Array, width: float = 1e-4) -> Array:
    """From central differences of the exact gradient."""
    rows = [
        (criterion(rho_2 + width * axis)[1] - criterion(rho_2 - width * axis)[1]) / (2 * width) for axis in np.eye(2)
    ]
    hessian = np.stack(rows)
    return (hessian + hessian.T) / 2


def _inward(rho_2: Array, gradient_2: Array) -> Array:
    """The gradient without what points out of the bounds."""
    out_2 = ((rho_2 <= BOUNDS[0]) & (gradient_2 > 0)) | ((rho_2 >= BOUNDS[1]) & (gradient_2 < 0))
    return np.where(out_2, 0.0, gradient_2)
