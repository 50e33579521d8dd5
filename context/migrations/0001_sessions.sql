-- The nouns of Troupe. Every table and every key carries org_id.
--
-- Ids are text in COLLATE "C": they compare by their bytes, so UUIDv7s sort by birth and an index
-- never depends on the locale of the machine. Times are Unix seconds.

CREATE TABLE organizations (
    id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    created_at double precision NOT NULL DEFAULT extract(epoch FROM now()),
    metadata jsonb NOT NULL DEFAULT '{}'
);

INSERT INTO organizations (id, name) VALUES ('org_default', 'Default organization');

CREATE TABLE users (
    org_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    id text COLLATE "C" NOT NULL,
    -- What the organization itself calls this person.
    external_id text COLLATE "C" NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at double precision NOT NULL,
    PRIMARY KEY (org_id, id),
    UNIQUE (org_id, external_id)
);

-- A session's row is also its lock and its fence: every write of an activation updates it WHERE
-- epoch still is the activation's own. No column that such an update changes is in an index, so
-- that updates stay within the page (HOT).
CREATE TABLE sessions (
    org_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    id text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    last_seq bigint NOT NULL DEFAULT 0,
    last_position bigint NOT NULL DEFAULT 0,
    -- Turns ever accepted; numbers the responses.
    turns bigint NOT NULL DEFAULT 0,
    -- Responses accepted and not yet ended. What an activation finds here was left behind.
    open_turns text[] COLLATE "C" NOT NULL DEFAULT '{}',
    -- Deletions of items: a hot copy made before the last one must not come back.
    edits bigint NOT NULL DEFAULT 0,
    -- Events up to here may have lost an item.
    edited_seq bigint NOT NULL DEFAULT 0,
    last_response_id text COLLATE "C",
    user_id text COLLATE "C",
    agent text,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at double precision NOT NULL,
    updated_at double precision NOT NULL,
    PRIMARY KEY (org_id, id),
    FOREIGN KEY (org_id, user_id) REFERENCES users (org_id, id)
) WITH (fillfactor = 50);

CREATE INDEX sessions_of_user ON sessions (org_id, user_id, id) WHERE user_id IS NOT NULL;

-- No foreign key to sessions here and below: a row is only ever inserted by a statement that
-- holds its session's row, and a check per row would double the cost of a write.
CREATE TABLE messages (
    org_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    role text NOT NULL,
    content text NOT NULL,
    response_id text COLLATE "C",
    created_at double precision NOT NULL,
    -- The item event that brought the message; NULL for what a turn brought.
    seq bigint,
    epoch bigint,
    PRIMARY KEY (org_id, session_id, position),
    -- A fork keeps the ids of what it copies, so an id is unique within its session only.
    UNIQUE (org_id, session_id, id)
);

CREATE INDEX messages_by_event ON messages (org_id, session_id, seq) WHERE seq IS NOT NULL;

-- No column that the end of a turn changes is in an index: see sessions. Each index begins with a
-- column of its own, so that a plan made while the table is empty cannot pick the wrong one.
CREATE TABLE responses (
    org_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    -- 1 for the session's first turn.
    turn bigint NOT NULL,
    status text NOT NULL,
    model text NOT NULL,
    agent text NOT NULL,
    created_at double precision NOT NULL,
    completed_at double precision,
    item_id text COLLATE "C" NOT NULL,
    text text NOT NULL DEFAULT '',
    cuts integer[] NOT NULL DEFAULT '{}',
    epoch bigint NOT NULL,
    accepted_seq bigint NOT NULL DEFAULT 0,
    first_seq bigint NOT NULL DEFAULT 0,
    last_seq bigint NOT NULL DEFAULT 0,
    -- Positions of the turn's input and of its answer in the session.
    input_from bigint,
    input_to bigint,
    answer_at bigint,
    client_id text COLLATE "C",
    user_name text,
    previous_response_id text COLLATE "C",
    instructions text,
    temperature double precision,
    top_p double precision,
    max_output_tokens bigint,
    background boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}',
    decision jsonb NOT NULL DEFAULT '{}',
    input_tokens bigint,
    output_tokens bigint,
    cached_tokens bigint,
    error jsonb,
    incomplete_reason text,
    PRIMARY KEY (id, org_id),
    UNIQUE (session_id, org_id, turn)
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX responses_by_client_id ON responses (client_id, org_id, session_id)
    WHERE client_id IS NOT NULL;
