"""What the benchmark scripts share: the setting, the contenders and the order of their runs."""
