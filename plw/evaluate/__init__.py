"""What a trained model scores: by the real harnesses, by judges, and by the diagnostics of the PLW paper."""
