"""A grid as an array of Slurm jobs, by submitit: submitted, known while queued, continued when cut off."""
