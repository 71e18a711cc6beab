"""Direct preference optimization in the engine of the fine-tuning: pairs share a row, and their prompt stands once."""
