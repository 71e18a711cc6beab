"""Measurements on a trained model that explain its scores."""
