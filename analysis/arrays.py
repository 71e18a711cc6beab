"""Types of arrays, and what is done with them in more than one model."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def covariance_root(covariance_KK: Array) -> Array:
    """A matrix R with R R' equal to a covariance, which may be singular: rows of normals times R' have it."""
    value_K, vector_KK = np.linalg.eigh(covariance_KK)
    root_KK: Array = vector_KK * np.sqrt(np.maximum(value_K, 0.0))
    return root_KK
