-- What was computed for this node's owner anywhere, and for clients here: one row for each piece of work that ended
-- well, with what was measured of it. `place` is own, sold (here, for a client) or bought (elsewhere, for the owner).
CREATE TABLE work_done (
    id            TEXT    PRIMARY KEY NOT NULL,
    ended_at      INTEGER NOT NULL,
    place         TEXT    NOT NULL,
    book          TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    model         TEXT,
    runtime       TEXT,
    units         INTEGER NOT NULL,
    prompt_tokens INTEGER,
    wall_ms       INTEGER NOT NULL,
    milliwatts    INTEGER
) STRICT;
CREATE INDEX work_done_by_time ON work_done (ended_at);

-- The spans in which work could be bought here.
CREATE TABLE offered (
    from_at  INTEGER PRIMARY KEY NOT NULL,
    until_at INTEGER NOT NULL
) STRICT;
