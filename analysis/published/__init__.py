"""Numbers that others have published, and what they support."""
