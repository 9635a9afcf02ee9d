-- What an operator has to look at, by the name it has in the log: how often it was told, and what was said the last time.
CREATE TABLE happening (
    name TEXT PRIMARY KEY,
    times INTEGER NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    facts TEXT NOT NULL
) WITHOUT ROWID;
