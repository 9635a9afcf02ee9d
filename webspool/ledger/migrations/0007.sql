-- Lists of a long past. The waiting, the dead and the cancelled are found by their state alone, with what lists ask of
-- them; what went wrong by its error; a time by every 64th row, which costs the writer next to nothing.
DROP INDEX job_scheduled;
CREATE INDEX job_scheduled ON job (due_at, seq, task, source, delivery) WHERE state = 'scheduled';
DROP INDEX job_dead;
CREATE INDEX job_dead ON job (seq, task, source, delivery) WHERE state = 'dead';
DROP INDEX job_cancelled;
CREATE INDEX job_cancelled ON job (seq, task, source, delivery) WHERE state = 'cancelled';
DROP INDEX job_failing;
CREATE INDEX job_with_error ON job (task, error, state, seq, source, created_at, started_at, finished_at, id)
WHERE error IS NOT NULL;
CREATE INDEX job_sampled ON job (created_at) WHERE seq % 64 = 0;
CREATE INDEX delivery_sampled ON delivery (received_at) WHERE seq % 64 = 0;
-- the source's newest are found type by type; there are few types
DROP INDEX delivery_by_source;
CREATE INDEX delivery_by_type ON delivery (source, event_type, seq);
