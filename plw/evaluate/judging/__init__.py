"""Judges: which of two answers is better, asked of a server or of local weights."""
