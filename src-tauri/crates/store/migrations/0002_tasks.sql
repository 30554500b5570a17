-- Tasks as A2A clients see them. A sold contract is one from its award on, with the contract's id; what happened to it
-- is told from the contract's own states and documents; `task_records` has what else was said.
CREATE TABLE tasks (
    id         TEXT    PRIMARY KEY NOT NULL,
    owner      TEXT    NOT NULL,
    context    TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    records    INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE INDEX tasks_by_owner ON tasks (owner, changed_at, id);
CREATE INDEX tasks_by_end ON tasks (state, expires_at);

-- Numbered from 1 within the task, without gaps; never changed.
CREATE TABLE task_records (
    task   TEXT    NOT NULL REFERENCES tasks (id),
    number INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    body   TEXT    NOT NULL,
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;

-- Which message went where, so that one that is sent again does nothing again.
CREATE TABLE task_messages (
    owner   TEXT NOT NULL,
    message TEXT NOT NULL,
    task    TEXT NOT NULL REFERENCES tasks (id),
    sha256  TEXT NOT NULL,
    PRIMARY KEY (owner, message)
) STRICT, WITHOUT ROWID;

-- Holders of API keys are peers that the node itself signs for.
ALTER TABLE peers ADD COLUMN by_key INTEGER NOT NULL DEFAULT 0 CHECK (by_key IN (0, 1));

-- Who is told of a task, and up to which version. Not part of the events: they hold credentials, and what is in the
-- events can never be forgotten.
CREATE TABLE hooks (
    task      TEXT    NOT NULL REFERENCES tasks (id),
    id        TEXT    NOT NULL,
    config    TEXT    NOT NULL,
    delivered INTEGER NOT NULL,
    open      INTEGER NOT NULL CHECK (open IN (0, 1)),
    PRIMARY KEY (task, id)
) STRICT, WITHOUT ROWID;

-- Contracts that were sold before: each task has the first state that ended it, or else the newest.
INSERT INTO tasks (id, owner, context, state, records, changed_at)
SELECT contracts.id, contracts.peer, contracts.id,
       CASE entered.state
           WHEN 'awarded' THEN 'submitted'
           WHEN 'running' THEN 'working'
           WHEN 'delivered' THEN 'input_required'
           WHEN 'accepted' THEN 'completed'
           WHEN 'abandoned' THEN 'canceled'
           ELSE 'failed'
       END,
       0, entered.at
FROM contracts
JOIN contract_states AS entered ON entered.contract = contracts.id
WHERE contracts.role = 'contractor'
  AND entered.seq = (
      SELECT seq FROM contract_states
      WHERE contract = contracts.id
        AND state IN ('awarded', 'running', 'delivered', 'accepted', 'abandoned', 'rejected', 'failed')
      ORDER BY state IN ('awarded', 'running', 'delivered'),
               CASE WHEN state IN ('awarded', 'running', 'delivered') THEN -seq ELSE seq END
      LIMIT 1)
  AND EXISTS (SELECT 1 FROM contract_states WHERE contract = contracts.id AND state = 'awarded');

-- What is reserved for a job that is bought without a contract is looked up by its id.
CREATE INDEX entries_by_contract ON entries (contract);

-- The A2A agent that a job was given to, its task there and what was agreed, as JSON; none when it is with nobody.
ALTER TABLE jobs ADD COLUMN hired TEXT;
