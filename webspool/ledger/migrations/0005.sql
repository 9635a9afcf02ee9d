-- Who may see and steer the instance. Once there is one, the password of the configuration opens nothing.
CREATE TABLE user (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;

-- Who is logged in. `id` is the SHA-256 of what the browser holds: who reads the ledger cannot log in with it.
CREATE TABLE session (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    begun_at REAL NOT NULL,
    remote TEXT,
    agent TEXT
) WITHOUT ROWID;

-- Programs that may ask the API; `digest` is the token's SHA-256.
CREATE TABLE token (
    name TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;

-- Tries to log in since a moment, by name and address, and all together (`*`).
CREATE TABLE login_try (
    name TEXT PRIMARY KEY,
    tries INTEGER NOT NULL,
    since REAL NOT NULL
) WITHOUT ROWID;

-- What happened in a span of `span` seconds that begins at `at`, to `task:NAME` or `source:NAME`: numbers by name, and
-- how many waits and runs took how long, as JSON.
CREATE TABLE tally (
    span INTEGER NOT NULL,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (span, at, name)
) WITHOUT ROWID;

CREATE INDEX job_failing ON job (seq) WHERE error IS NOT NULL AND state NOT IN ('succeeded', 'cancelled');
CREATE INDEX job_cancelled ON job (seq) WHERE state = 'cancelled';
CREATE INDEX job_by_parent ON job (parent) WHERE parent IS NOT NULL;
