-- Until when an event sent again is a copy: a source says for how long, a body's digest counts for a short time.
ALTER TABLE event_key ADD COLUMN until REAL NOT NULL DEFAULT 0;
UPDATE event_key SET until = first_at + 2592000;
