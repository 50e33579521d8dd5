-- How far each process has come with what it counts beside turns: its last batch. A batch whose
-- answer was lost is sent again, and is counted only if its number is new.
CREATE TABLE counted (
    writer text COLLATE "C" PRIMARY KEY,
    batch bigint NOT NULL,
    at double precision NOT NULL
) WITH (fillfactor = 50);
