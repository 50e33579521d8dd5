"""The writer's statements: each takes a whole batch, and each row in it is fenced on its own.

`TURNS` is the hot one. It is a single statement, hence a transaction without further round trips.
Rows travel as JSON documents: for a few wide rows that costs Postgres a fifth of what as many
array parameters would.

How it goes, for all writes at once:

1. `fenced` updates the session's row of every write whose epoch still holds and whose response is
   new (or, at an end, still open). Taking the row serialises the writes of one session, so
   what the other parts read cannot be overtaken.
2. the other parts insert and update only what belongs to a fenced write. A write that missed
   leaves no trace; which ones did not miss is the statement's answer.

What turns cost is summed up per organization and user and added to their rows of the day: once,
since a turn ends once, and in one order, after all sessions' rows are taken, so that hosts do not
wait for each other in a ring.

Two checks compare with IS NOT DISTINCT FROM, which no index serves, to leave the planner only the
index that begins with the column that tells rows apart.
"""

from __future__ import annotations

_FENCE = (
    "n bigint, org_id text, session_id text, epoch bigint, at double precision, seq bigint,"
    " first bigint, position bigint, opened text, client_id text, ended text, item_id text,"
    " metadata jsonb, agent text, failed boolean, nano bigint"
)

_MESSAGES = (
    "n bigint, position bigint, id text, role text, content text, response_id text,"
    " created_at double precision, seq bigint, epoch bigint"
)

_OPENS = (
    "n bigint, id text, status text, model text, agent text, created_at double precision,"
    " item_id text, epoch bigint, input_from bigint, input_to bigint, client_id text,"
    " user_name text, previous_response_id text, instructions text,"
    " temperature double precision, top_p double precision, max_output_tokens bigint,"
    " background boolean, metadata jsonb, decision jsonb, replaces text"
)

_ENDS = (
    "n bigint, org_id text, id text, status text, model text, agent text, item_id text,"
    " text text, cuts integer[], legs jsonb, charges jsonb, attempts integer,"
    " epoch bigint, accepted_seq bigint, first_seq bigint, last_seq bigint, answer_at bigint,"
    " decision jsonb, input_tokens bigint, output_tokens bigint, cached_tokens bigint,"
    " error jsonb, incomplete_reason text, completed_at double precision"
)

_ANNOUNCES = (
    "n bigint, id text, endpoint text, response_id text, type text, created_at double precision"
)

_COSTS = "n bigint, user_name text, day date, nano bigint"

_FENCED = f"""
WITH w AS (
    SELECT * FROM json_to_recordset($1::json) AS w ({_FENCE})
), fenced AS (
    UPDATE sessions AS s
    SET last_seq = greatest(s.last_seq, w.seq),
        written_epoch = w.epoch,
        last_position = greatest(s.last_position, w.position),
        turns = s.turns + (w.opened IS NOT NULL)::integer,
        last_response_id = coalesce(w.opened, s.last_response_id),
        open_turns = CASE
            WHEN w.opened IS NOT NULL THEN array_append(s.open_turns, w.opened)
            WHEN w.ended IS NOT NULL THEN array_remove(s.open_turns, w.ended)
            ELSE s.open_turns END,
        edits = s.edits + (w.item_id IS NOT NULL)::integer,
        agent = coalesce(w.agent, s.agent),
        failures = CASE
            WHEN w.failed THEN s.failures + 1
            WHEN NOT w.failed THEN 0
            ELSE s.failures END,
        spent = s.spent + coalesce(w.nano, 0),
        updated_at = w.at
    FROM w
    WHERE s.org_id = w.org_id AND s.id = w.session_id AND s.epoch = w.epoch
        AND (w.ended IS NULL OR w.ended = ANY (s.open_turns))
        AND (w.first IS NULL OR s.last_position < w.first)
        AND NOT EXISTS (
            SELECT FROM responses AS r WHERE r.id = w.opened AND r.org_id = w.org_id)
        AND NOT EXISTS (
            SELECT FROM responses AS r
            WHERE r.client_id = w.client_id AND r.org_id = w.org_id
                AND r.session_id IS NOT DISTINCT FROM w.session_id)
    RETURNING w.n, s.org_id, s.id AS session_id, s.user_id, w.item_id, s.turns, s.last_seq,
        s.last_position, s.edits, cardinality(s.open_turns) AS open_turns
)"""

_PARTS = f""", replaced AS (
    DELETE FROM messages AS m USING fenced
    WHERE m.org_id = fenced.org_id AND m.session_id = fenced.session_id AND m.id = fenced.item_id
), said AS (
    INSERT INTO messages (org_id, session_id, position, id, role, content, response_id,
        created_at, seq, epoch)
    SELECT fenced.org_id, fenced.session_id, m.position, m.id, m.role, m.content, m.response_id,
        m.created_at, m.seq, m.epoch
    FROM json_to_recordset($2::json) AS m ({_MESSAGES}) JOIN fenced ON fenced.n = m.n
), opened AS (
    INSERT INTO responses (org_id, session_id, turn, id, status, model, agent, created_at,
        item_id, epoch, input_from, input_to, client_id, user_name, previous_response_id,
        instructions, temperature, top_p, max_output_tokens, background, metadata, decision,
        replaces)
    SELECT fenced.org_id, fenced.session_id, fenced.turns, o.id, o.status, o.model, o.agent,
        o.created_at, o.item_id, o.epoch, o.input_from, o.input_to, o.client_id, o.user_name,
        o.previous_response_id, o.instructions, o.temperature, o.top_p, o.max_output_tokens,
        o.background, o.metadata, o.decision, o.replaces
    FROM json_to_recordset($3::json) AS o ({_OPENS}) JOIN fenced ON fenced.n = o.n
), ended AS (
    UPDATE responses AS r
    SET status = e.status, model = e.model, agent = e.agent, item_id = e.item_id, text = e.text,
        cuts = e.cuts, legs = e.legs, charges = e.charges, attempts = e.attempts,
        epoch = e.epoch,
        accepted_seq = e.accepted_seq, first_seq = e.first_seq, last_seq = e.last_seq,
        answer_at = e.answer_at, decision = e.decision, input_tokens = e.input_tokens,
        output_tokens = e.output_tokens, cached_tokens = e.cached_tokens, error = e.error,
        incomplete_reason = e.incomplete_reason, completed_at = e.completed_at
    FROM json_to_recordset($4::json) AS e ({_ENDS}) JOIN fenced ON fenced.n = e.n
    WHERE r.id = e.id AND r.org_id = e.org_id
)"""

_STAMPS = """
SELECT n, last_seq, last_position, edits, open_turns FROM fenced
"""

# One row for each end that costs something. Sorting reads `fenced` to its end before any is added.
_COUNTED = f""", counted AS (
    INSERT INTO spending AS x (org_id, subject, day, nano, turns)
    SELECT fenced.org_id, p.subject, c.day, sum(c.nano)::bigint, count(*)
    FROM json_to_recordset($5::json) AS c ({_COSTS}) JOIN fenced ON fenced.n = c.n
    LEFT JOIN users AS u ON u.org_id = fenced.org_id AND u.id = fenced.user_id
    CROSS JOIN LATERAL (VALUES (''), (coalesce(c.user_name, u.external_id))) AS p (subject)
    WHERE p.subject IS NOT NULL
    GROUP BY fenced.org_id, p.subject, c.day ORDER BY fenced.org_id, p.subject, c.day
    ON CONFLICT (org_id, subject, day) DO UPDATE
    SET nano = x.nano + excluded.nano, turns = x.turns + excluded.turns
)"""

_ANNOUNCED = f""", announced AS (
    INSERT INTO outbox (org_id, id, endpoint, session_id, response_id, type, created_at, due_at)
    SELECT fenced.org_id, a.id, a.endpoint, fenced.session_id, a.response_id, a.type,
        a.created_at, a.created_at
    FROM json_to_recordset($6::json) AS a ({_ANNOUNCES}) JOIN fenced ON fenced.n = a.n
)"""

TURNS = _FENCED + _PARTS + _STAMPS
"""Where no end costs anything and nobody is to be told of one: so that it costs nothing there."""

TURNS_COUNTED = _FENCED + _COUNTED + _PARTS + _STAMPS
"""The same, with what the ends cost."""

TURNS_ANNOUNCED = _FENCED + _COUNTED + _PARTS + _ANNOUNCED + _STAMPS
"""The same, with word of the ends for webhook endpoints."""

DELETE = f"""
WITH w AS (
    SELECT * FROM json_to_recordset($1::json) AS w ({_FENCE})
), fenced AS (
    UPDATE sessions AS s
    SET edits = s.edits + 1, edited_seq = s.last_seq, updated_at = w.at,
        summary_to = coalesce((
            SELECT max(x.covers_to) FROM summaries AS x
            WHERE x.org_id = s.org_id AND x.session_id = s.id AND x.covers_to < m.position), 0)
    FROM w JOIN messages AS m
        ON m.org_id = w.org_id AND m.session_id = w.session_id AND m.id = w.item_id
    WHERE s.org_id = w.org_id AND s.id = w.session_id AND s.epoch = w.epoch
    RETURNING w.n, w.org_id, w.session_id, w.item_id, m.position, s.last_seq, s.last_position,
        s.edits, cardinality(s.open_turns) AS open_turns
), gone AS (
    DELETE FROM messages AS m USING fenced
    WHERE m.org_id = fenced.org_id AND m.session_id = fenced.session_id AND m.id = fenced.item_id
), told AS (
    DELETE FROM summaries AS x USING fenced
    WHERE x.org_id = fenced.org_id AND x.session_id = fenced.session_id
        AND x.covers_to >= fenced.position
)
SELECT n, last_seq, last_position, edits, open_turns FROM fenced
"""

METADATA = f"""
UPDATE sessions AS s
SET metadata = w.metadata, updated_at = w.at
FROM json_to_recordset($1::json) AS w ({_FENCE})
WHERE s.org_id = w.org_id AND s.id = w.session_id AND s.epoch = w.epoch
RETURNING w.n, s.last_seq, s.last_position, s.edits, cardinality(s.open_turns) AS open_turns
"""

DROP = f"""
WITH fenced AS (
    DELETE FROM sessions AS s
    USING json_to_recordset($1::json) AS w ({_FENCE})
    WHERE s.org_id = w.org_id AND s.id = w.session_id AND s.epoch = w.epoch
    RETURNING w.n, s.org_id, s.id AS session_id, s.last_seq, s.last_position, s.edits,
        cardinality(s.open_turns) AS open_turns
), said AS (
    DELETE FROM messages AS m USING fenced
    WHERE m.org_id = fenced.org_id AND m.session_id = fenced.session_id
), answered AS (
    DELETE FROM responses AS r USING fenced
    WHERE r.session_id = fenced.session_id AND r.org_id = fenced.org_id
), planned AS (
    DELETE FROM schedules AS p USING fenced
    WHERE p.session_id = fenced.session_id AND p.org_id = fenced.org_id
), owed AS (
    DELETE FROM outbox AS x USING fenced
    WHERE x.session_id = fenced.session_id AND x.org_id = fenced.org_id
), told AS (
    DELETE FROM summaries AS x USING fenced
    WHERE x.org_id = fenced.org_id AND x.session_id = fenced.session_id
)
SELECT n, last_seq, last_position, edits, open_turns FROM fenced
"""

WHY = f"""
SELECT w.n, s.epoch, s.last_position >= w.first AS overtaken,
    (SELECT r.id FROM responses AS r WHERE r.id = w.opened AND r.org_id = w.org_id) AS same_id,
    (SELECT r.id FROM responses AS r
     WHERE r.client_id = w.client_id AND r.org_id = w.org_id
        AND r.session_id IS NOT DISTINCT FROM w.session_id) AS same_client_id,
    coalesce((r.legs -> -1 ->> 4)::bigint, r.epoch) AS ended_epoch, r.last_seq AS ended_seq
FROM json_to_recordset($1::json) AS w ({_FENCE})
LEFT JOIN sessions AS s ON s.org_id = w.org_id AND s.id = w.session_id
LEFT JOIN responses AS r ON r.id = w.ended AND r.org_id = w.org_id AND r.session_id = w.session_id
    AND r.status NOT IN ('queued', 'in_progress')
"""
