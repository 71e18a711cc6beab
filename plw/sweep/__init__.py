"""Many cells: a Hydra launcher that plans the whole grid first, worker processes, progress, and the table at the end."""
