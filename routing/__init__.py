"""Decides which agent answers a message, and says why; and which of its endpoints.

Pure: no clock, no I/O, and chance only where endpoints are drawn.

- `rules`: what a rule is, what can be wrong with a list of them, and its compiled form
- `expressions`: conditions in CEL; `scan`: what their words say about them; `facts`: what they see
- `conditions`: the short way to write the usual ones
- `targets`: where a rule leads
- `decide`: one message → one Decision
- `explain`, `replay`: what the rules say of one message, and of many that were decided before
- `patterns`: regular expressions, keywords and globs that match in linear time
- `endpoints`: which of them takes the next request; `health`: what is known of each;
  `circuit`: whether it may be asked; `limits`: how much it can take

Runs inside a session's turn, so nothing here may wait or take longer on a clever message, but for
a rule that asks a model. Must not know Ray, settings, or how an agent is called.
"""
