"""Training: the whole run planned first, then an explicit loop that can be killed and continued."""
