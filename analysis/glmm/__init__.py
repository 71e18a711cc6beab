"""The beta mixed model, as glmmTMB fits it."""
