-- For how many days the finished deliveries and jobs, and the bodies, of a source are kept, where it says so itself.
CREATE TABLE retention (
    source TEXT PRIMARY KEY,
    keep_days REAL,
    keep_body_days REAL
) WITHOUT ROWID;
