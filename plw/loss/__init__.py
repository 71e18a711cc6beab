"""The loss room: what each token counts (numpy) and the weighted loss itself (torch)."""
