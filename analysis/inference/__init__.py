"""What a study concludes from its scores: regressions, intervals, selection, advice."""
