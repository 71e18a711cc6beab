"""The basis of te(w, r): natural cubic splines by their values at knots, their product, and what makes it smooth."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.arrays import Array


@dataclass(frozen=True, kw_only=True)
class CubicMargin:
    """A natural cubic spline, parametrised by its values at K knots (mgcv's ``bs="cr"``; Wood 2017, section 5.3.1)."""

    knot_J: Array

    @classmethod
    def of(cls, x_N: Array, knots: int) -> "CubicMargin":
        """Knots at evenly spaced quantiles of the different values of a covariate, of which there are enough."""
        return cls(knot_J=np.quantile(np.unique(x_N), np.linspace(0, 1, knots)))

    @cached_property
    def _system(self) -> tuple[Array, Array]:
        """D and B of the equations D values = B curvatures that a spline with continuous slope satisfies inside."""
        h = np.diff(self.knot_J)
        inner = len(h) - 1
        d, b = np.zeros((inner, inner + 2)), np.zeros((inner, inner))
        for i in range(inner):
            d[i, i : i + 3] = 1 / h[i], -1 / h[i] - 1 / h[i + 1], 1 / h[i + 1]
            b[i, i] = (h[i] + h[i + 1]) / 3
            if i + 1 < inner:
                b[i, i + 1] = b[i + 1, i] = h[i + 1] / 6
        return d, b

    @cached_property
    def curvature_JJ(self) -> Array:
        """Turns values at the knots into second derivatives there; they are 0 at both ends."""
        d, b = self._system
        end_J = np.zeros((1, len(self.knot_J)))
        return np.vstack([end_J, np.linalg.solve(b, d), end_J])

    @cached_property
    def penalty_JJ(self) -> Array:
        """Of the integrated squared second derivative."""
        d, b = self._system
        penalty: Array = d.T @ np.linalg.solve(b, d)
        return (penalty + penalty.T) / 2

    def matrix(self, x_N: Array) -> Array:
        """[N, K]: the spline at ``x_N`` is this times its values at the knots; beyond the end knots it is straight."""
        knot, last = self.knot_J, len(self.knot_J) - 2
        place_N = np.clip(np.searchsorted(knot, x_N, side="right") - 1, 0, last)
        inside_N = np.clip(x_N, knot[0], knot[-1])
        h_N = (knot[1:] - knot[:-1])[place_N]
        right_N, left_N = knot[place_N + 1] - inside_N, inside_N - knot[place_N]
        value_JJ = np.eye(len(knot))
        inside_NJ: Array = (
            (right_N / h_N)[:, None] * value_JJ[place_N]
            + (left_N / h_N)[:, None] * value_JJ[place_N + 1]
            + ((right_N**3 / h_N - h_N * right_N) / 6)[:, None] * self.curvature_JJ[place_N]
            + ((left_N**3 / h_N - h_N * left_N) / 6)[:, None] * self.curvature_JJ[place_N + 1]
        )
        # inside_N is an end knot for everything beyond it, so that the distance is 0 within.
        return inside_NJ + (x_N - inside_N)[:, None] * self._slopes(place_N > 0)

    def _slopes(self, right_N: NDArray[np.bool_]) -> Array:
        """First derivative at the left or the right end, by the values at the knots; curvature there is 0."""
        knot, value_JJ, curvature = self.knot_J, np.eye(len(self.knot_J)), self.curvature_JJ
        first, last = knot[1] - knot[0], knot[-1] - knot[-2]
        at_left = (value_JJ[1] - value_JJ[0]) / first - first * curvature[1] / 6
        at_right = (value_JJ[-1] - value_JJ[-2]) / last + last * curvature[-2] / 6
        slope_NJ: Array = np.where(right_N[:, None], at_right, at_left)
        return slope_NJ


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """The smooth surface over weight and ratio, in coordinates in which both penalties are diagonal.

    mgcv's coordinates are the surface's values at the crossings of the knots, with one direction taken out so that the
    surface sums to 0 over the data. Its two penalties share eigenvectors: products of those of the margins. In these
    coordinates the last three columns are free of any penalty (a plane in w and r, and w times r), the rest is
    penalised by diagonals, and the constant is left out; ``to_mgcv`` leads back. So no smoothing parameter, however
    large, costs accuracy.
    """

    margins: tuple[CubicMargin, CubicMargin]
    rotation: Array
    """[K * K, C]: values at the crossings of the knots by coordinates."""
    mean_C: Array
    """Of the columns over the data, taken off each."""
    penalty_2C: Array
    """The diagonals, one for w and one for r, on mgcv's scale."""
    to_mgcv: Array
    """[C, C]: mgcv's coefficients from these."""
    scale_2: Array
    """mgcv's ``S.scale``: what the penalties were divided by."""

    @property
    def free(self) -> int:
        """How many of the last columns bear no penalty."""
        return int((self.penalty_2C.sum(axis=0) == 0).sum())

    def matrix(self, w_N: Array, r_N: Array) -> Array:
        """[N, C]: a surface at these places is this times its coordinates."""
        crossing_NC = _product(self.margins[0].matrix(w_N), self.margins[1].matrix(r_N))
        column_NC: Array = crossing_NC @ self.rotation - self.mean_C
        return column_NC


def make_tensor(w_N: Array, r_N: Array, knots: int = 3) -> Tensor:
    """The basis over data as ``te(w, r, k=knots)`` of mgcv 1.8 makes it; each covariate has ``knots`` values or more.

    The margins' coefficients are values of the spline already, so mgcv's reparameterisation leaves them as they are.
    """
    margins = CubicMargin.of(w_N, knots), CubicMargin.of(r_N, knots)
    crossing_NC = _product(margins[0].matrix(w_N), margins[1].matrix(r_N))
    (value_w, vector_w), (value_r, vector_r) = (_directions(margin) for margin in margins)
    value_2C = np.stack([np.repeat(value_w, knots), np.tile(value_r, knots)])
    # The constant in both is the last of all and left out; a stable sort keeps it there.
    order_C = np.argsort(value_2C.sum(axis=0) == 0, kind="stable")[:-1]
    scale_2 = _penalty_scales(crossing_NC, margins)
    rotation: Array = np.kron(vector_w, vector_r)[:, order_C].astype(np.float64)
    mean_of_crossings = crossing_NC.mean(axis=0)
    mean_C = mean_of_crossings @ rotation
    return Tensor(
        margins=margins,
        rotation=rotation,
        mean_C=mean_C,
        penalty_2C=value_2C[:, order_C] / scale_2[:, None],
        to_mgcv=_orthogonal_to(mean_of_crossings).T @ (rotation - mean_C),
        scale_2=scale_2,
    )


def _product(left_NJ: Array, right_NJ: Array) -> Array:
    """[N, K * K]: every column of one times every column of the other."""
    product: Array = np.einsum("ni,nj->nij", left_NJ, right_NJ).reshape(len(left_NJ), -1)
    return product


def _directions(margin: CubicMargin) -> tuple[Array, Array]:
    """Eigenvalues of a margin's penalty, the largest 1, and eigenvectors; the last two are a line and the constant."""
    value_J, vector_JJ = np.linalg.eigh(margin.penalty_JJ)
    knots = len(value_J)
    constant_J = np.full(knots, knots**-0.5)
    line_J = margin.knot_J - margin.knot_J.mean()
    free = np.stack([line_J / np.linalg.norm(line_J), constant_J], axis=1)
    value_J = np.append(value_J[:1:-1] / value_J[-1], [0.0, 0.0])
    return value_J, np.hstack([vector_JJ[:, :1:-1], free])


def _penalty_scales(crossing_NC: Array, margins: tuple[CubicMargin, CubicMargin]) -> Array:
    """The scaling of mgcv, which makes a smoothing parameter of 1 a moderate one whatever the units: ‖S‖₁ / ‖X‖∞²."""
    square = np.abs(crossing_NC).sum(axis=1).max() ** 2
    norms = [
        np.abs(margin.penalty_JJ).sum(axis=0).max() / np.linalg.eigvalsh(margin.penalty_JJ)[-1] for margin in margins
    ]
    scale_2: Array = np.array(norms) / square
    return scale_2


def _orthogonal_to(vector_C: Array) -> Array:
    """[C, C - 1]: what Householder's reflection of a vector onto the first axis leaves of the other axes."""
    normal_C = vector_C.copy()
    normal_C[0] += np.copysign(np.linalg.norm(vector_C), vector_C[0])
    reflection = np.eye(len(vector_C)) - 2 * np.outer(normal_C, normal_C) / (normal_C @ normal_C)
    return reflection[:, 1:]
