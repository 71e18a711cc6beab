"""What a cell leaves, as everyone who writes or reads it has it: scores, items, and the identity they belong to."""
