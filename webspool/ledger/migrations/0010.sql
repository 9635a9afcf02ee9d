-- Deliveries whose job went wrong are found by the error without a look at each such job.
DROP INDEX job_with_error;
CREATE INDEX job_with_error ON job (task, error, state, seq, source, created_at, started_at, finished_at, id, delivery)
WHERE error IS NOT NULL;
-- What runs is found by its open attempts: an index less that each job enters and leaves.
DROP INDEX job_running;
