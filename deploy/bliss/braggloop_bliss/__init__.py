"""Braggloop in a Bliss session: counters, and the alignment of the session's own axes."""
