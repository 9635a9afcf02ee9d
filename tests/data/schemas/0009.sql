PRAGMA page_size=4096;

BEGIN TRANSACTION;

DROP TABLE IF EXISTS "action";
CREATE TABLE action (
    id TEXT PRIMARY KEY,
    verb TEXT NOT NULL,
    arguments TEXT NOT NULL,
    answer TEXT NOT NULL,
    actor TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO "action" VALUES('d_01a1fc593923705481468fad4317e8f7','redeliver','{"verb": "redeliver", "delivery": "d_01a1fc593914784eb8195d5cfa32e2f2", "jobs": [], "actor": "source:github"}','{"status": "duplicate", "delivery": "d_01a1fc593914784eb8195d5cfa32e2f2", "jobs": [{"id": "j_01a1fc5939147d74982b49f3951beb60", "task": "deploy", "state": "succeeded"}, {"id": "j_01a1fc593914770aafe3fa3f13076e18", "task": "audit", "state": "scheduled"}]}','source:github',1795235068.1962454);
INSERT INTO "action" VALUES('x_01a1fc5939477525818475728351fe12','pause','{"verb": "pause", "names": ["task:audit"], "actor": "somebody"}','{"done": {"task:audit": "done"}}','somebody',1795235068.2317681);
INSERT INTO "action" VALUES('x_token','put_token','{"verb": "put_token", "actor": "root", "name": "kims", "role": "operator", "user": "kim"}','{"done": true}','root',1795972572.911925);
INSERT INTO "action" VALUES('x_user','put_user','{"verb": "put_user", "name": "kim", "role": "operator", "actor": "root"}','{"done": true}','root',1795972572.911925);

DROP TABLE IF EXISTS attempt;
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
INSERT INTO attempt VALUES('a_01a1fc5939187bccb30f2fe13602fdba','j_01a1fc5939147d74982b49f3951beb60',1,'boot:4:5',1795235068.1852627,NULL,1795235068.1882815,'succeeded',1,NULL,NULL,NULL,NULL,NULL,0,0);
INSERT INTO attempt VALUES('a_01a1fc59391d7b60aa25e8ed12153ef4','j_01a1fc593914770aafe3fa3f13076e18',1,'boot:4:5',1795235068.1901186,NULL,1795235068.193325,'failed',1,'ValueError: no such branch','Traceback
ValueError: no such branch',NULL,NULL,NULL,0,0);
INSERT INTO attempt VALUES('a_01a1fc5939327640ae9d162eb00c8c1c','j_01a1fc59392f707985540776db41a362',1,'boot:4:5',1795235068.2108347,NULL,1795235068.215561,'failed',1,'ValueError: no such branch','Traceback
ValueError: no such branch',NULL,NULL,NULL,0,0);
INSERT INTO attempt VALUES('a_01a1fc59395d71a9a10fb95a26357deb','j_01a1fc59394e7892a543d154fab384a3',1,'boot:4:5',1795235068.2545204,NULL,NULL,NULL,1,NULL,NULL,NULL,NULL,NULL,0,0);
CREATE INDEX attempt_by_job ON attempt (job, number);
CREATE INDEX attempt_open ON attempt (process) WHERE ended_at IS NULL;

DROP TABLE IF EXISTS counter;
CREATE TABLE counter (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counter VALUES('deliveries.accepted',1);
INSERT INTO counter VALUES('deliveries.duplicates',1);
INSERT INTO counter VALUES('deliveries.refused',1);
INSERT INTO counter VALUES('jobs.blocked',1);
INSERT INTO counter VALUES('jobs.dead',1);
INSERT INTO counter VALUES('jobs.queued',0);
INSERT INTO counter VALUES('jobs.running',1);
INSERT INTO counter VALUES('jobs.scheduled',2);
INSERT INTO counter VALUES('jobs.succeeded',1);

DROP TABLE IF EXISTS delivery;
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
INSERT INTO delivery VALUES(1,'d_01a1fc593914784eb8195d5cfa32e2f2','github','POST','/hooks/github','[["Content-Type", "application/json"]]','192.0.2.1','e-1','push',1795235068.1814797,'accepted',X'7B226166746572223A2022EB8298227D',0,16,'9fc3176f96e3c35eb2140f44653a1bf573b76e565c6d73ed7ba1cf5fe774b00d',1,NULL);
CREATE INDEX delivery_by_type ON delivery (source, event_type, seq);
CREATE INDEX delivery_sampled ON delivery (received_at) WHERE seq % 64 = 0;

DROP TABLE IF EXISTS event_key;
CREATE TABLE event_key (
    source TEXT NOT NULL,
    event_id TEXT NOT NULL,
    delivery TEXT NOT NULL,
    first_at REAL NOT NULL, until REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (source, event_id)
) WITHOUT ROWID;
INSERT INTO event_key VALUES('github','e-1','d_01a1fc593914784eb8195d5cfa32e2f2',1795235068.1814797,1797827068.1814797);

DROP TABLE IF EXISTS happening;
CREATE TABLE happening (
    name TEXT PRIMARY KEY,
    times INTEGER NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    facts TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO happening VALUES('runner_broken',2,1795235068.25,1795235070.5,'{"why": "SyntaxError: invalid syntax"}');

DROP TABLE IF EXISTS instance;
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
INSERT INTO instance VALUES('boot:2:3','host','boot',2,3,'spool',1795235068.1710835,NULL,0,1);

DROP TABLE IF EXISTS job;
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
INSERT INTO job VALUES(1,'j_01a1fc5939147d74982b49f3951beb60','deploy','delivery',NULL,'d_01a1fc593914784eb8195d5cfa32e2f2','github','succeeded',NULL,1795235068.1882815,0,NULL,NULL,1,0,1,0,0,1795235068.1814797,1795235068.1852627,1795235068.1882815,NULL,'{"done": 3}',NULL,NULL,NULL);
INSERT INTO job VALUES(2,'j_01a1fc593914770aafe3fa3f13076e18','audit','delivery',NULL,'d_01a1fc593914784eb8195d5cfa32e2f2','github','scheduled',NULL,1795235073.193325,0,NULL,NULL,1,0,1,0,0,1795235068.1814797,1795235068.1901186,NULL,'ValueError: no such branch',NULL,NULL,NULL,NULL);
INSERT INTO job VALUES(3,'j_01a1fc59392574009238a1ddd113cddd','deploy','keywords','{"branch": "main"}',NULL,NULL,'scheduled',NULL,4000000000.0,0,NULL,NULL,0,0,0,0,0,1795235068.1984465,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO job VALUES(4,'j_01a1fc5939297987b50db92707a38552','gone','keywords','{}',NULL,NULL,'blocked','unknown:gone',1795235068.202371,0,NULL,NULL,0,0,0,0,0,1795235068.202371,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO job VALUES(5,'j_01a1fc59392f707985540776db41a362','deploy','keywords','{}',NULL,NULL,'dead',NULL,1795235068.215561,0,NULL,NULL,1,0,1,0,0,1795235068.208245,1795235068.2108347,1795235068.215561,'1 of 1 attempts spent: ValueError: no such branch',NULL,NULL,NULL,NULL);
INSERT INTO job VALUES(6,'j_01a1fc59394e7892a543d154fab384a3','deploy','keywords','{}',NULL,NULL,'running',NULL,1795235068.2390847,0,NULL,'a_01a1fc59395d71a9a10fb95a26357deb',1,0,1,0,0,1795235068.2390847,1795235068.2545204,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE INDEX job_blocked ON job (blocked_on, priority DESC, due_at, seq) WHERE state = 'blocked';
CREATE INDEX job_by_delivery ON job (delivery) WHERE delivery IS NOT NULL;
CREATE INDEX job_by_parent ON job (parent) WHERE parent IS NOT NULL;
CREATE INDEX job_by_task ON job (task, seq);
CREATE INDEX job_cancelled ON job (seq, task, source, delivery) WHERE state = 'cancelled';
CREATE INDEX job_dead ON job (seq, task, source, delivery) WHERE state = 'dead';
CREATE INDEX job_queued ON job (priority DESC, due_at, seq) WHERE state = 'queued';
CREATE INDEX job_running ON job (task) WHERE state = 'running';
CREATE INDEX job_sampled ON job (created_at) WHERE seq % 64 = 0;
CREATE INDEX job_scheduled ON job (due_at, seq, task, source, delivery) WHERE state = 'scheduled';
CREATE INDEX job_with_error ON job (task, error, state, seq, source, created_at, started_at, finished_at, id)
WHERE error IS NOT NULL;

DROP TABLE IF EXISTS login_try;
CREATE TABLE login_try (
    name TEXT PRIMARY KEY,
    tries INTEGER NOT NULL,
    since REAL NOT NULL
) WITHOUT ROWID;

DROP TABLE IF EXISTS pause;
CREATE TABLE pause (
    name TEXT PRIMARY KEY,
    since REAL NOT NULL,
    actor TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO pause VALUES('task:audit',1795235068.2317681,'somebody');

DROP TABLE IF EXISTS process;
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
, tried INTEGER NOT NULL DEFAULT 0, broken TEXT) WITHOUT ROWID;
INSERT INTO process VALUES('boot:4:5','boot:2:3',4,5,0,0,1,1795235068.1764894,NULL,0,NULL);

DROP TABLE IF EXISTS refusal;
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
INSERT INTO refusal VALUES(1,'r_01a1fc59393d736887069b91fb47102d','github','signature_invalid',401,'POST','/hooks/github','[["Content-Type", "application/json"], ["X-GitHub-Event", "push"], ["X-GitHub-Delivery", "e-1"]]','192.0.2.9',X'7B7D',2,1795235068.2218413);
CREATE INDEX refusal_by_kind ON refusal (source, cause, seq);

DROP TABLE IF EXISTS retention;
CREATE TABLE retention (
    source TEXT PRIMARY KEY,
    keep_days REAL,
    keep_body_days REAL
) WITHOUT ROWID;
INSERT INTO retention VALUES('github',7.0,NULL);

DROP TABLE IF EXISTS session;
CREATE TABLE session (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL,
    begun_at REAL NOT NULL,
    remote TEXT,
    agent TEXT
) WITHOUT ROWID;

DROP TABLE IF EXISTS slot;
CREATE TABLE slot (
    holds TEXT NOT NULL,
    job TEXT NOT NULL,
    PRIMARY KEY (holds, job)
) WITHOUT ROWID;
CREATE INDEX slot_by_job ON slot (job);

DROP TABLE IF EXISTS tally;
CREATE TABLE tally (
    span INTEGER NOT NULL,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (span, at, name)
) WITHOUT ROWID;

DROP TABLE IF EXISTS task;
CREATE TABLE task (
    name TEXT PRIMARY KEY,
    known INTEGER NOT NULL,
    concurrency INTEGER,
    policy TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO task VALUES('audit',1,NULL,'{"concurrency": null, "first_wait": 5.0, "grace": 10.0, "jitter": 0, "longest_wait": 3600.0, "max_age": null, "max_attempts": 20, "timeout": 600.0}');
INSERT INTO task VALUES('deploy',1,NULL,'{"concurrency": null, "first_wait": 5.0, "grace": 10.0, "jitter": 0, "longest_wait": 3600.0, "max_age": null, "max_attempts": 20, "timeout": 600.0}');

DROP TABLE IF EXISTS token;
CREATE TABLE token (
    name TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    created_at REAL NOT NULL
, user TEXT) WITHOUT ROWID;
INSERT INTO token VALUES('grafana','0000000000000000000000000000000000000000000000000000000000000000','viewer',1795235068.25,NULL);
INSERT INTO token VALUES('kims','1111111111111111111111111111111111111111111111111111111111111111','operator',1795972572.911925,'kim');

DROP TABLE IF EXISTS user;
CREATE TABLE user (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    created_at REAL NOT NULL
) WITHOUT ROWID;
INSERT INTO user VALUES('kim','operator','x',1795972572.911925);
INSERT INTO user VALUES('mina','viewer','scrypt:32768:8:1$AAAAAAAAAAAAAAAA$00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000',1795235068.25);

pragma user_version=9;
pragma application_id=2004054065;

COMMIT TRANSACTION;
