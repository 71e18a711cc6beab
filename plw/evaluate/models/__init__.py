"""The evaluated model: what generates and scores text."""
