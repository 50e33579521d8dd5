"""Summaries in the store: kept under the activation's epoch, and woken with.

A summary tells of every message it covers, so none outlives one of them: the deletion of an item
takes along those that cover it (`context.statements.DELETE`), and the newest that is left counts.
"""

from __future__ import annotations

from context.driver import Row
from contracts.memory import Summary

NEWEST = """s.summary_to,
    CASE WHEN s.summary_to > 0 THEN (
        SELECT x.text FROM summaries AS x
        WHERE x.org_id = s.org_id AND x.session_id = s.id AND x.covers_to = s.summary_to
    ) END AS summary"""
"""The newest one of a session `s`, for the list of what a statement returns."""

KEEP = """
WITH w AS (
    SELECT * FROM json_to_recordset($1::json) AS w (n bigint, org_id text, session_id text,
        epoch bigint, at double precision, covers_to bigint, text text, agent text,
        input_tokens bigint, output_tokens bigint)
), fenced AS (
    UPDATE sessions AS s SET summary_to = w.covers_to
    FROM w
    WHERE s.org_id = w.org_id AND s.id = w.session_id AND s.epoch = w.epoch
        AND s.summary_to <= w.covers_to
    RETURNING w.*, s.last_seq, s.last_position, s.edits, cardinality(s.open_turns) AS open_turns
), kept AS (
    INSERT INTO summaries (org_id, session_id, covers_to, text, agent, created_at, input_tokens,
        output_tokens)
    SELECT org_id, session_id, covers_to, text, agent, at, input_tokens, output_tokens FROM fenced
    ON CONFLICT DO NOTHING
)
SELECT n, last_seq, last_position, edits, open_turns FROM fenced
"""
"""The writer's statement, like those in `context.statements`. A second try finds it kept."""


def of(row: Row) -> Summary | None:
    """The summary in a row that has `NEWEST`."""
    return None if row["summary"] is None else Summary(row["summary"], row["summary_to"])
