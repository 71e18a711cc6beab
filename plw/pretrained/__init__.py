"""Models that others made, before any is loaded: what their files hold and what their configs say of length and end."""
