"""Scores of a study: the only part of the analysis that reads the registry."""
