"""The trained model: loading, attention, head, parallelism."""
