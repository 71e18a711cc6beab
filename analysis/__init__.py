"""From the registry to the paper: a tidy frame of scores, and the tables, figures and report made of it."""
