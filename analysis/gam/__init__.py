"""The ratio model: a generalised additive model, as mgcv fits it."""
