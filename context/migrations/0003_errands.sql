-- What happens without anybody at a socket. As in 0001: ids compare by their bytes, times are Unix
-- seconds, and each index begins with a column of its own.

-- Turns that sessions begin by themselves. A row is claimed by moving `wake_at` ahead: whoever
-- claims and dies is followed by another once that has passed.
CREATE TABLE schedules (
    org_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    created_at double precision NOT NULL,
    -- What is asked, as a TurnRequest without ids.
    turn jsonb NOT NULL,
    at double precision,
    cron text,
    timezone text NOT NULL,
    -- The next time, and when to look at the row again; NULL where none will come.
    due_at double precision,
    wake_at double precision,
    -- What became of the last time, and how many have passed without a run.
    last_due_at double precision,
    last_kind text,
    last_response_id text COLLATE "C",
    last_error jsonb,
    skipped bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (id, org_id)
);

CREATE INDEX schedules_of_session ON schedules (session_id, org_id, id);
CREATE INDEX schedules_by_time ON schedules (wake_at, org_id) WHERE wake_at IS NOT NULL;
CREATE INDEX schedules_of_organization ON schedules (org_id) WHERE due_at IS NOT NULL;
CREATE INDEX schedules_that_are_over ON schedules (last_due_at, org_id) WHERE due_at IS NULL;

-- Word of turns' ends that webhook endpoints are owed, written in the transaction that ends the
-- turn. A row goes when it is delivered; one that was given up stays for a while, to be seen.
CREATE TABLE outbox (
    org_id text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    endpoint text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    response_id text COLLATE "C" NOT NULL,
    type text NOT NULL,
    created_at double precision NOT NULL,
    -- When to try, or to try again; NULL once it was given up.
    due_at double precision,
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    PRIMARY KEY (id, org_id, endpoint)
);

CREATE INDEX outbox_by_time ON outbox (endpoint, due_at, org_id) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_of_session ON outbox (session_id, org_id);
CREATE INDEX outbox_by_age ON outbox (created_at, org_id);

-- Who does what only one process should do at a time; nobody's data.
CREATE TABLE leases (
    name text COLLATE "C" PRIMARY KEY,
    owner text NOT NULL,
    until double precision NOT NULL
);
