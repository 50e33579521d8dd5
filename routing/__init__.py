"""Decides which agent answers a message, and says why. Pure: no clock, no I/O, no randomness.

- `rules`: what a rule is, what can be wrong with a list of them, and its compiled form
- `decide`: one message → one Decision
- `patterns`: regular expressions, keywords and globs that match in linear time

Runs inside a session's turn, so nothing here may wait or take longer on a clever message. Must
not know Ray, settings, or how an agent is called.
"""
