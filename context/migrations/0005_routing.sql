-- Rules that change while Troupe runs, turns that go on at another provider, and what they cost.

-- The newest version of each scope is in force. Nothing is ever changed here, so a version can be
-- read at leisure and put in force again; `revision` tells what is newer over all scopes.
CREATE TABLE policies (
    scope text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    revision bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    body text NOT NULL,
    created_at double precision NOT NULL,
    author text,
    note text,
    rolled_back_to bigint,
    PRIMARY KEY (scope, version)
);

CREATE UNIQUE INDEX policies_by_revision ON policies (revision);

ALTER TABLE sessions
    -- Turns that failed in a row until now.
    ADD COLUMN failures integer NOT NULL DEFAULT 0,
    -- Nano-dollars that its ended turns have cost.
    ADD COLUMN spent bigint NOT NULL DEFAULT 0;

ALTER TABLE responses
    -- Rows of a Charge, one for each request to a provider.
    ADD COLUMN charges jsonb NOT NULL DEFAULT '[]';

-- A leg is now numbered, and says between which endpoints it changed.
UPDATE responses SET legs = (
    SELECT jsonb_agg(leg || jsonb_build_array(n * 16, null, null) ORDER BY n)
    FROM jsonb_array_elements(legs) WITH ORDINALITY AS e (leg, n)
) WHERE legs <> '[]';

-- What a user or an organization has spent on a day of UTC, in nano-dollars. `subject` is the
-- user's id as the caller says it, or empty for the whole organization.
CREATE TABLE spending (
    org_id text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    day date NOT NULL,
    nano bigint NOT NULL,
    turns bigint NOT NULL,
    PRIMARY KEY (org_id, subject, day)
) WITH (fillfactor = 50);
