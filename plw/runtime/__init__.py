"""What surrounds a process: the machine, its signals and its end, standard streams, console and log."""
