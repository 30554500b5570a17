-- Calls of peers and of holders of a key that were refused, counted by day (midnight UTC) and reason. Days long past
-- are forgotten.
CREATE TABLE refused_calls (
    day   INTEGER NOT NULL,
    why   TEXT    NOT NULL,
    count INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (day, why)
) STRICT, WITHOUT ROWID;
