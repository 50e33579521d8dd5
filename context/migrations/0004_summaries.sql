-- What was said in a long conversation, in short. The messages stay; a summary only takes their
-- place in what a model is shown.

-- The newest summary covers the positions up to here; 0 where there is none, so that waking a
-- session looks for one only where there is one.
ALTER TABLE sessions ADD COLUMN summary_to bigint NOT NULL DEFAULT 0;

-- Each covers all that the one before it did. The older ones stay for when an item that the newer
-- ones cover is deleted.
CREATE TABLE summaries (
    org_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    covers_to bigint NOT NULL,
    text text NOT NULL,
    -- Who wrote it, and what that cost.
    agent text NOT NULL,
    created_at double precision NOT NULL,
    input_tokens bigint,
    output_tokens bigint,
    PRIMARY KEY (org_id, session_id, covers_to)
);
