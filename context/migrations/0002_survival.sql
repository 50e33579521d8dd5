-- Turns that outlive their host: another activation goes on with them in a further leg.

ALTER TABLE sessions
    -- The activation that last moved last_seq: under its epoch the last stored event was said.
    ADD COLUMN written_epoch bigint NOT NULL DEFAULT 0;

-- Nobody wrote down who wrote before; the latest that may have is the safe guess, since cursors of
-- earlier epochs are then looked up instead of being believed.
UPDATE sessions SET written_epoch = epoch;

-- `epoch` is from here on that of the acceptance; each leg has its own.
ALTER TABLE responses
    -- Rows of [cuts, position, policy, reason, epoch], oldest first.
    ADD COLUMN legs jsonb NOT NULL DEFAULT '[]',
    -- Activations that have run the turn.
    ADD COLUMN attempts integer NOT NULL DEFAULT 1,
    -- The item that was removed when this turn was accepted, to be answered anew.
    ADD COLUMN replaces text COLLATE "C";
