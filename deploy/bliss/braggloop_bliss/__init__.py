"""Braggloop in a Bliss session: counters, alignment of the session's own axes, and scans that are watched."""
