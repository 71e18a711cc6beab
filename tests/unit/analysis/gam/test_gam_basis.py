"""The basis of the ratio model: it is a natural spline by its values, and its penalty is the integral it stands for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import CubicSpline

from analysis.gam.basis import CubicMargin, make_tensor

GENERATOR = np.random.default_rng(4)
WEIGHT_N, RATIO_N = (
    axis.ravel() for axis in np.meshgrid([0.0, 5e-4, 0.01, 0.1, 0.5, 1.0], [0.04, 0.08, 1.0, 3.3, 7.8])
)


@pytest.mark.parametrize("knots", [3, 4, 7])
def test_a_margin_is_the_natural_cubic_spline_through_its_values(knots):
    knot_J = np.sort(GENERATOR.uniform(-2, 5, knots))
    margin, value_J = CubicMargin(knot_J=knot_J), GENERATOR.normal(size=knots)
    spline = CubicSpline(knot_J, value_J, bc_type="natural")
    at_M = np.linspace(knot_J[0], knot_J[-1], 60)
    np.testing.assert_allclose(margin.matrix(at_M) @ value_J, spline(at_M), atol=1e-10)
    bend, _ = quad(lambda x: float(spline(x, 2)) ** 2, knot_J[0], knot_J[-1], points=knot_J[1:-1], epsabs=1e-10)
    assert value_J @ margin.penalty_JJ @ value_J == pytest.approx(bend, rel=1e-6)


def test_beyond_its_knots_a_margin_is_straight_and_smooth():
    knot_J = np.array([0.0, 0.04, 1.0])
    margin, value_J = CubicMargin(knot_J=knot_J), np.array([0.2, -0.5, 0.9])
    for end, step in ((0.0, -1.0), (1.0, 1.0)):
        near, far, further = margin.matrix(end + step * np.array([1e-6, 1.0, 2.0])) @ value_J
        at = (margin.matrix(np.array([end])) @ value_J)[0]
        inside = (margin.matrix(np.array([end - step * 1e-6])) @ value_J)[0]
        assert further - far == pytest.approx(far - at)
        assert near - at == pytest.approx(at - inside, rel=1e-3)


@given(st.lists(st.floats(-100, 100).map(lambda x: round(x, 2)), min_size=3, max_size=30, unique=True))
def test_knots_hold_the_ends_and_the_median_of_different_values(values):
    knot_J = CubicMargin.of(np.array(values * 2), 3).knot_J
    assert knot_J.tolist() == pytest.approx([min(values), float(np.median(values)), max(values)])


def test_the_surfaces_columns_sum_to_zero_and_the_free_ones_are_a_twisted_plane():
    tensor = make_tensor(WEIGHT_N, RATIO_N)
    column_NC = tensor.matrix(WEIGHT_N, RATIO_N)
    np.testing.assert_allclose(column_NC.mean(axis=0), 0, atol=1e-12)
    assert tensor.free == 3
    plane_NC = np.stack([np.ones_like(WEIGHT_N), WEIGHT_N, RATIO_N, WEIGHT_N * RATIO_N], axis=1)
    free_NC = column_NC[:, -3:]
    np.testing.assert_allclose(plane_NC @ np.linalg.lstsq(plane_NC, free_NC, rcond=None)[0], free_NC, atol=1e-10)


def test_in_mgcvs_coordinates_the_columns_are_those_of_the_constrained_product():
    tensor = make_tensor(WEIGHT_N, RATIO_N)
    product_NJ = np.einsum("ni,nj->nij", tensor.margins[0].matrix(WEIGHT_N), tensor.margins[1].matrix(RATIO_N)).reshape(
        len(WEIGHT_N), -1
    )
    there_NC = tensor.matrix(WEIGHT_N, RATIO_N) @ np.linalg.inv(tensor.to_mgcv)
    # An orthonormal basis Z of what is orthogonal to the columns' means, so that the product times Z sums to 0.
    z_JC = np.linalg.lstsq(product_NJ, there_NC, rcond=None)[0]
    np.testing.assert_allclose(product_NJ @ z_JC, there_NC, atol=1e-10)
    np.testing.assert_allclose(z_JC.T @ z_JC, np.eye(8), atol=1e-9)
    np.testing.assert_allclose(product_NJ.mean(axis=0) @ z_JC, 0, atol=1e-10)
