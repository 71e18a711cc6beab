"""Which examples a step holds, and how they are laid out for the model."""
