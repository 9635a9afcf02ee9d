-- One running master and its processes. `start` is the start time from /proc, which tells a reused pid apart.
CREATE TABLE instance (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    boot TEXT NOT NULL,
    pid INTEGER NOT NULL,
    start INTEGER NOT NULL,
    engine TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    stopping INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;

-- One spooler of an instance, with the process group of its runner.
CREATE TABLE process (
    id TEXT PRIMARY KEY,
    instance TEXT NOT NULL,
    pid INTEGER NOT NULL,
    start INTEGER NOT NULL,
    runner_pid INTEGER NOT NULL DEFAULT 0,
    runner_start INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 1,
    joined_at REAL NOT NULL,
    ended_at REAL
) WITHOUT ROWID;

-- The tasks that the running code knows (known = 1) or once knew, with their policy as JSON.
CREATE TABLE task (
    name TEXT PRIMARY KEY,
    known INTEGER NOT NULL,
    concurrency INTEGER,
    policy TEXT NOT NULL
) WITHOUT ROWID;

-- Accepted webhooks in order of acceptance. A body over 64 KiB is a file named by the id (body_file = 1).
CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    headers TEXT NOT NULL,
    remote TEXT,
    event_id TEXT,
    event_type TEXT,
    received_at REAL NOT NULL,
    status TEXT NOT NULL,
    body BLOB,
    body_file INTEGER NOT NULL DEFAULT 0,
    body_size INTEGER NOT NULL,
    body_sha256 TEXT NOT NULL,
    duplicates INTEGER NOT NULL DEFAULT 0,
    parent TEXT
);
CREATE INDEX delivery_by_source ON delivery (source, seq);

-- The senders' own ids, kept apart so that pruning a delivery leaves its key.
CREATE TABLE event_key (
    source TEXT NOT NULL,
    event_id TEXT NOT NULL,
    delivery TEXT NOT NULL,
    first_at REAL NOT NULL,
    PRIMARY KEY (source, event_id)
) WITHOUT ROWID;

-- Orders to run a task. `attempts` are the charged ones, `base` those of earlier rounds; `number` counts every
-- attempt; `attempt` is the one that holds the job while it is running.
CREATE TABLE job (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL,
    calling TEXT NOT NULL,
    arguments TEXT,
    delivery TEXT,
    source TEXT,
    state TEXT NOT NULL,
    blocked_on TEXT,
    due_at REAL NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    key TEXT,
    attempt TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    base INTEGER NOT NULL DEFAULT 0,
    number INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    cancelling INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    error TEXT,
    result TEXT,
    parent TEXT,
    batch TEXT,
    schedule TEXT
);
CREATE INDEX job_queued ON job (priority DESC, due_at, seq) WHERE state = 'queued';
CREATE INDEX job_scheduled ON job (due_at, seq) WHERE state = 'scheduled';
CREATE INDEX job_blocked ON job (blocked_on, priority DESC, due_at, seq) WHERE state = 'blocked';
CREATE INDEX job_running ON job (task) WHERE state = 'running';
CREATE INDEX job_dead ON job (seq) WHERE state = 'dead';
CREATE INDEX job_by_delivery ON job (delivery) WHERE delivery IS NOT NULL;
CREATE INDEX job_by_task ON job (task, seq);

-- One run of a job; open while ended_at is NULL. An outcome that came after another had ended it is `late`.
CREATE TABLE attempt (
    id TEXT PRIMARY KEY,
    job TEXT NOT NULL,
    number INTEGER NOT NULL,
    process TEXT NOT NULL,
    started_at REAL NOT NULL,
    deadline_at REAL,
    ended_at REAL,
    outcome TEXT,
    charged INTEGER NOT NULL DEFAULT 1,
    error TEXT,
    traceback TEXT,
    exit_code INTEGER,
    signal INTEGER,
    late TEXT,
    output_bytes INTEGER NOT NULL DEFAULT 0,
    output_cut INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX attempt_by_job ON attempt (job, number);
CREATE INDEX attempt_open ON attempt (process) WHERE ended_at IS NULL;

-- Who holds a place under a limit: `task:NAME` (its concurrency) or `key:TASK:KEY` (one at a time).
CREATE TABLE slot (
    holds TEXT NOT NULL,
    job TEXT NOT NULL,
    PRIMARY KEY (holds, job)
) WITHOUT ROWID;
CREATE INDEX slot_by_job ON slot (job);

-- What an operator has paused: `all`, `task:NAME` or `source:NAME`.
CREATE TABLE pause (
    name TEXT PRIMARY KEY,
    since REAL NOT NULL,
    actor TEXT NOT NULL
) WITHOUT ROWID;

-- Operators' actions with what they came to.
CREATE TABLE action (
    id TEXT PRIMARY KEY,
    verb TEXT NOT NULL,
    arguments TEXT NOT NULL,
    answer TEXT NOT NULL,
    actor TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE refusal (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    cause TEXT NOT NULL,
    status INTEGER NOT NULL,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    headers TEXT NOT NULL,
    remote TEXT,
    body BLOB,
    body_size INTEGER NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX refusal_by_kind ON refusal (source, cause, seq);

-- Running totals, kept in the transactions that change them: `jobs.STATE`, `deliveries.KIND`.
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
