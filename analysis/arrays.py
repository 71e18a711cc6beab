"""Types of arrays, and what is done with them in more than one model."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def covariance_root(covariance_PP: Array) -> Array:
    """A matrix R with R R' equal to a covariance, which may be singular: rows of normals times R' have it."""
    value_P, vector_PP = np.linalg.eigh(covariance_PP)
    root_PP: Array = vector_PP * np.sqrt(np.maximum(value_P, 0.0))
    return root_PP
