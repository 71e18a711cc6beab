"""The loss: what each token counts (numpy) and the weighted loss itself (torch)."""
