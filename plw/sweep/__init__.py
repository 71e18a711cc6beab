"""Many cells: the grid planned first, worker processes, progress, and the table at the end."""
