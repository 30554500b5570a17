-- Times are milliseconds since the Unix epoch, money is integer micro-USD, identifiers are UUIDs as text,
-- digests are lower-case hex. Never edit a released migration; add the next number.

PRAGMA application_id = 0x54454e44;

-- What happened, in order and without gaps. All tables below except `blobs` follow from it.
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;

CREATE TABLE identity (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    did     TEXT NOT NULL,
    data_id TEXT NOT NULL
) STRICT;

CREATE TABLE jobs (
    id            TEXT    PRIMARY KEY NOT NULL,
    book          TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    spec          TEXT    NOT NULL,
    peers_only    INTEGER NOT NULL CHECK (peers_only IN (0, 1)),
    input_sha256  TEXT    NOT NULL,
    output_sha256 TEXT,
    output_bytes  INTEGER,
    decision      TEXT,
    checked       TEXT,
    reason        TEXT,
    charged       INTEGER,
    submitted_at  INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state, id);

CREATE TABLE job_states (
    job   TEXT    NOT NULL REFERENCES jobs (id),
    seq   INTEGER NOT NULL,
    state TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE contracts (
    id            TEXT    PRIMARY KEY NOT NULL,
    role          TEXT    NOT NULL,
    book          TEXT    NOT NULL,
    peer          TEXT    NOT NULL,
    job           TEXT    REFERENCES jobs (id),
    kind          TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    reason        TEXT,
    amount        INTEGER,
    input_sha256  TEXT    NOT NULL,
    input_bytes   INTEGER NOT NULL,
    output_sha256 TEXT,
    output_bytes  INTEGER,
    payment       TEXT,
    opened_at     INTEGER NOT NULL,
    changed_at    INTEGER NOT NULL,
    expires_at    INTEGER
) STRICT;
CREATE INDEX contracts_by_job ON contracts (job);
CREATE INDEX contracts_by_peer ON contracts (peer, id);
-- Slots and credit are counted at every proposal and award.
CREATE INDEX contracts_by_state ON contracts (state, role, book, peer, amount, expires_at);

CREATE TABLE contract_states (
    contract TEXT    NOT NULL REFERENCES contracts (id),
    seq      INTEGER NOT NULL,
    state    TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (contract, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX contract_states_by_day ON contract_states (state, at);

-- What the sides said to each other, each type once per contract.
CREATE TABLE documents (
    contract TEXT    NOT NULL REFERENCES contracts (id),
    type     TEXT    NOT NULL,
    hash     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    PRIMARY KEY (contract, type)
) STRICT;

CREATE TABLE payments (
    id           TEXT    PRIMARY KEY NOT NULL,
    role         TEXT    NOT NULL,
    book         TEXT    NOT NULL,
    peer         TEXT    NOT NULL,
    amount       INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    payment      TEXT    NOT NULL,
    confirmation TEXT,
    confirmed_at INTEGER
) STRICT;
CREATE INDEX payments_by_day ON payments (book, role, at);

CREATE TABLE peers (
    did          TEXT    PRIMARY KEY NOT NULL,
    name         TEXT    NOT NULL,
    address      TEXT,
    credit_limit INTEGER NOT NULL CHECK (credit_limit >= 0),
    paired_at    INTEGER NOT NULL,
    removed_at   INTEGER
) STRICT;

CREATE TABLE invitations (
    id            TEXT    PRIMARY KEY NOT NULL,
    secret_sha256 TEXT    NOT NULL UNIQUE,
    credit_limit  INTEGER NOT NULL CHECK (credit_limit >= 0),
    expires_at    INTEGER NOT NULL,
    used_by       TEXT,
    used_at       INTEGER
) STRICT;

CREATE TABLE settings (
    key        TEXT    PRIMARY KEY NOT NULL,
    value      TEXT    NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

-- The double-entry ledger: postings of an entry sum to zero; debit positive, credit negative.
CREATE TABLE entries (
    id       INTEGER PRIMARY KEY,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    book     TEXT    NOT NULL,
    contract TEXT
) STRICT;
CREATE INDEX entries_by_book ON entries (book, id);

-- `book` and `at` repeat the entry's, so that a day's expenses are one range of one index.
CREATE TABLE postings (
    entry   INTEGER NOT NULL REFERENCES entries (id),
    line    INTEGER NOT NULL,
    book    TEXT    NOT NULL,
    account TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    amount  INTEGER NOT NULL,
    PRIMARY KEY (entry, line)
) STRICT, WITHOUT ROWID;
CREATE INDEX postings_by_account ON postings (book, account, at, amount);

-- Sums of the postings, kept with them.
CREATE TABLE balances (
    book    TEXT    NOT NULL,
    account TEXT    NOT NULL,
    amount  INTEGER NOT NULL,
    PRIMARY KEY (book, account)
) STRICT, WITHOUT ROWID;

-- Which files lie under blobs/ and until when. Not part of the events: content can be fetched or made again.
CREATE TABLE blobs (
    sha256     TEXT    PRIMARY KEY NOT NULL,
    bytes      INTEGER NOT NULL,
    stored_at  INTEGER NOT NULL,
    keep_until INTEGER NOT NULL
) STRICT;
CREATE INDEX blobs_by_end ON blobs (keep_until);
