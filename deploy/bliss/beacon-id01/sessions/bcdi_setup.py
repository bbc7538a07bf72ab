"""Setup of the session."""
