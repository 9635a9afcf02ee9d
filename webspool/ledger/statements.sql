-- name: insert_event_key
INSERT INTO event_key (source, event_id, delivery, first_at, until)
VALUES (:source, :event_id, :delivery, :now, :until)
ON CONFLICT DO UPDATE SET delivery = excluded.delivery, first_at = excluded.first_at, until = excluded.until
WHERE event_key.until <= excluded.first_at

-- name: event_holder
SELECT delivery FROM event_key WHERE source = :source AND event_id = :event_id

-- name: insert_delivery
INSERT INTO delivery (id, source, method, url, headers, remote, event_id, event_type, received_at, status, body,
                      body_file, body_size, body_sha256, parent)
VALUES (:id, :source, :method, :url, :headers, :remote, :event_id, :event_type, :now, :status, :body,
        :body_file, :body_size, :body_sha256, :parent)
ON CONFLICT (id) DO NOTHING

-- name: delivery_status
SELECT status FROM delivery WHERE id = :id

-- name: count_duplicate
UPDATE delivery SET duplicates = duplicates + 1 WHERE id = :id

-- name: delivery_by_id
SELECT id, source, method, url, headers, received_at, event_id, event_type, body, body_file, body_size
FROM delivery WHERE id = :id

-- name: jobs_of_delivery
SELECT id, task, state FROM job WHERE delivery = :delivery ORDER BY seq

-- name: insert_job
INSERT INTO job (id, task, calling, arguments, delivery, source, state, blocked_on, due_at, priority, key, created_at,
                 parent, attempt, attempts, number, started_at)
VALUES (:id, :task, :calling, :arguments, :delivery, :source, :state, :blocked_on, :due_at, :priority, :key, :now,
        :parent, :attempt, :attempts, :attempts, :started_at)
ON CONFLICT (id) DO NOTHING

-- name: job_by_id
SELECT id, task, source, state, blocked_on, due_at, priority, key, attempt, delivery FROM job WHERE id = :id

-- name: next_queued
SELECT job.id, job.task, job.calling, job.arguments, job.created_at, job.attempts, job.base, job.number,
       job.interruptions, job.due_at, job.key, delivery.id, delivery.source, delivery.method, delivery.url,
       delivery.received_at, delivery.event_id, delivery.event_type, delivery.headers, delivery.body_file,
       coalesce(length(delivery.body), 0) + coalesce(length(job.arguments), 0), delivery.body
FROM job LEFT JOIN delivery ON delivery.id = job.delivery
WHERE job.state = 'queued' ORDER BY job.priority DESC, job.due_at, job.seq

-- name: count_queued
SELECT count(*) FROM (SELECT 1 FROM job INDEXED BY job_queued WHERE state = 'queued' LIMIT 65)

-- name: claim_job
UPDATE job SET state = 'running', attempt = :attempt, attempts = attempts + 1, number = number + 1, started_at = :now
WHERE id = :id AND state = 'queued'

-- name: insert_attempt
INSERT INTO attempt (id, job, number, process, started_at) VALUES (:id, :job, :number, :process, :now)
ON CONFLICT (id) DO NOTHING

-- name: claimed_before
SELECT job.id, job.task, job.calling, job.arguments, job.created_at, job.attempts - 1, job.base, job.number - 1,
       job.interruptions, job.due_at, job.key, delivery.id, delivery.source, delivery.method, delivery.url,
       delivery.received_at, delivery.event_id, delivery.event_type, delivery.headers, delivery.body_file,
       coalesce(length(delivery.body), 0) + coalesce(length(job.arguments), 0), delivery.body
FROM attempt JOIN job ON job.id = attempt.job LEFT JOIN delivery ON delivery.id = job.delivery
WHERE attempt.id = :id AND attempt.ended_at IS NULL AND job.attempt = :id

-- name: open_attempts_of
SELECT id FROM attempt WHERE process = :process AND ended_at IS NULL

-- name: open_claim
SELECT attempt.job, job.task, attempt.process, attempt.started_at
FROM attempt LEFT JOIN job ON job.id = attempt.job WHERE attempt.id = :id AND attempt.ended_at IS NULL

-- name: open_attempt
SELECT job.id, job.task, job.source, job.key, job.cancelling, job.due_at
FROM attempt JOIN job ON job.id = attempt.job
WHERE attempt.id = :id AND attempt.ended_at IS NULL AND job.attempt = :id AND job.state = 'running'

-- name: unclaim_job
UPDATE job SET state = :state, blocked_on = :blocked_on, attempt = NULL, attempts = attempts - 1, number = number - 1,
               started_at = NULL
WHERE id = :id AND attempt = :attempt AND state = 'running'

-- name: delete_attempt
DELETE FROM attempt WHERE id = :id AND ended_at IS NULL

-- name: end_attempt
UPDATE attempt SET started_at = coalesce(:began_at, started_at), ended_at = :ended_at, outcome = :outcome,
                   charged = :charged, error = :error, traceback = :traceback, exit_code = :exit_code,
                   signal = :signal, output_bytes = :output_bytes, output_cut = :output_cut
WHERE id = :id AND ended_at IS NULL

-- name: note_late_end
UPDATE attempt SET late = coalesce(late, :outcome) WHERE id = :id AND outcome <> :outcome

-- name: held_job
SELECT task, source, key, cancelling FROM job WHERE id = :id AND attempt = :attempt AND state = 'running'

-- name: end_job
UPDATE job SET state = :state, blocked_on = :blocked_on, attempt = NULL, due_at = :due_at, error = :error,
               result = :result, attempts = attempts - :uncharged, interruptions = interruptions + :cut,
               finished_at = :finished_at, cancelling = 0
WHERE id = :id AND attempt = :attempt AND state = 'running'

-- name: move_job
UPDATE job SET state = :state, blocked_on = :blocked_on, due_at = :due_at WHERE id = :id

-- name: finish_waiting_job
UPDATE job SET state = :state, blocked_on = NULL, error = :error, finished_at = :now WHERE id = :id

-- name: begin_new_round
UPDATE job SET base = attempts, interruptions = 0, finished_at = NULL, error = NULL, result = NULL WHERE id = :id

-- name: ask_to_cancel
UPDATE job SET cancelling = 1 WHERE id = :id AND state = 'running'

-- name: due_jobs
SELECT id, task, source, key, due_at FROM job WHERE state = 'scheduled' AND due_at <= :now
ORDER BY due_at, seq LIMIT :most

-- name: next_due
SELECT due_at FROM job WHERE state = 'scheduled' ORDER BY due_at LIMIT 1

-- name: any_queued
SELECT 1 FROM job WHERE state = 'queued' LIMIT 1

-- name: blocked_on
SELECT id, task, source, key, due_at FROM job WHERE state = 'blocked' AND blocked_on = :blocked_on
ORDER BY priority DESC, due_at, seq LIMIT :most

-- name: queued_by_task
SELECT id, task, source, key, due_at FROM job INDEXED BY job_queued WHERE state = 'queued' AND task = :task

-- name: queued_by_source
SELECT id, task, source, key, due_at FROM job WHERE state = 'queued' AND source = :source

-- name: all_queued
SELECT id, task, source, key, due_at FROM job WHERE state = 'queued'

-- name: running_by_task
SELECT job.id FROM attempt INDEXED BY attempt_open CROSS JOIN job ON job.id = attempt.job
WHERE attempt.ended_at IS NULL AND job.state = 'running' AND job.task = :task

-- name: next_unknown
SELECT blocked_on FROM job WHERE state = 'blocked' AND blocked_on > :after AND blocked_on < 'unknown;'
ORDER BY blocked_on LIMIT 1

-- name: slots_taken
SELECT count(*) FROM slot WHERE holds = :holds

-- name: take_slot
INSERT INTO slot (holds, job) VALUES (:holds, :job) ON CONFLICT DO NOTHING

-- name: any_slot
SELECT 1 FROM slot LIMIT 1

-- name: free_slots
DELETE FROM slot WHERE job = :job RETURNING holds

-- name: task_by_name
SELECT known, concurrency, policy FROM task WHERE name = :name

-- name: all_tasks
SELECT name, known, concurrency, policy FROM task

-- name: upsert_task
INSERT INTO task (name, known, concurrency, policy) VALUES (:name, 1, :concurrency, :policy)
ON CONFLICT (name) DO UPDATE SET known = 1, concurrency = excluded.concurrency, policy = excluded.policy

-- name: forget_task
UPDATE task SET known = 0 WHERE name = :name

-- name: pauses
SELECT name FROM pause

-- name: insert_pause
INSERT INTO pause (name, since, actor) VALUES (:name, :now, :actor) ON CONFLICT DO NOTHING

-- name: delete_pause
DELETE FROM pause WHERE name = :name

-- name: insert_instance
INSERT INTO instance (id, host, boot, pid, start, engine, generation, started_at)
VALUES (:id, :host, :boot, :pid, :start, :engine, :generation, :now)
ON CONFLICT (id) DO UPDATE SET generation = max(generation, excluded.generation)

-- name: end_other_instances
UPDATE instance SET ended_at = :now WHERE id <> :id AND host = :host AND ended_at IS NULL

-- name: live_instances
SELECT id, host, boot, pid, start, started_at FROM instance WHERE ended_at IS NULL

-- name: instance_standing
SELECT stopping OR ended_at IS NOT NULL, generation FROM instance WHERE id = :id

-- name: mark_stopping
UPDATE instance SET stopping = :stopping WHERE id = :id

-- name: renew_instance
UPDATE instance SET generation = max(generation, :generation) WHERE id = :id

-- name: any_of_generation
SELECT 1 FROM process WHERE instance = :instance AND ended_at IS NULL AND generation >= :generation AND runner_pid > 0
LIMIT 1

-- name: attempts_of_instance
SELECT attempt.id, attempt.process FROM attempt JOIN process ON process.id = attempt.process
WHERE attempt.ended_at IS NULL AND process.instance = :instance AND process.generation < :generation

-- name: upsert_process
INSERT INTO process (id, instance, pid, start, runner_pid, runner_start, generation, tried, broken, joined_at)
VALUES (:id, :instance, :pid, :start, :runner_pid, :runner_start, :generation, :tried, :broken, :now)
ON CONFLICT (id) DO UPDATE SET runner_pid = excluded.runner_pid, runner_start = excluded.runner_start,
                               generation = excluded.generation, tried = excluded.tried, broken = excluded.broken,
                               ended_at = NULL

-- name: end_process
UPDATE process SET ended_at = :now WHERE id = :id AND ended_at IS NULL

-- name: end_other_processes
UPDATE process SET ended_at = :now WHERE instance <> :instance AND ended_at IS NULL
AND id NOT IN (SELECT process FROM attempt WHERE ended_at IS NULL)

-- name: live_processes
SELECT id, instance, pid, start, runner_pid, runner_start FROM process WHERE ended_at IS NULL

-- name: processes_with_open_attempts
SELECT DISTINCT attempt.process, process.instance, process.pid, process.start, process.runner_pid, process.runner_start
FROM attempt LEFT JOIN process ON process.id = attempt.process WHERE attempt.ended_at IS NULL

-- name: open_attempts_with_jobs
SELECT attempt.id, job.id, job.task, job.attempts - job.base, job.interruptions, job.created_at, task.policy
FROM attempt JOIN job ON job.id = attempt.job LEFT JOIN task ON task.name = job.task
WHERE attempt.process = :process AND attempt.ended_at IS NULL

-- name: cancelling_attempts
SELECT attempt.id, attempt.process FROM attempt INDEXED BY attempt_open CROSS JOIN job ON job.id = attempt.job
WHERE attempt.ended_at IS NULL AND job.attempt = attempt.id AND job.state = 'running' AND job.cancelling = 1

-- name: insert_action
INSERT INTO action (id, verb, arguments, answer, actor, at) VALUES (:id, :verb, :arguments, :answer, :actor, :now)

-- name: action_answer
SELECT answer FROM action WHERE id = :id

-- name: insert_refusal
INSERT INTO refusal (id, source, cause, status, method, url, headers, remote, body, body_size, at)
VALUES (:id, :source, :cause, :status, :method, :url, :headers, :remote, :body, :body_size, :at)
ON CONFLICT (id) DO NOTHING

-- name: drop_old_refusals
DELETE FROM refusal WHERE source = :source AND cause = :cause AND seq <= (
    SELECT seq FROM refusal WHERE source = :source AND cause = :cause ORDER BY seq DESC LIMIT 1 OFFSET :keep)

-- name: add_to_counter
INSERT INTO counter (name, value) VALUES (:name, :change)
ON CONFLICT (name) DO UPDATE SET value = value + excluded.value

-- name: oldest_jobs
SELECT seq, id, state, created_at, source FROM job WHERE seq > :after ORDER BY seq LIMIT :most

-- name: attempts_of
SELECT id FROM attempt WHERE job = :job

-- name: delete_attempts
DELETE FROM attempt WHERE job = :job

-- name: delete_old_job
DELETE FROM job WHERE id = :id AND state = :state AND finished_at < :before

-- name: oldest_deliveries
SELECT seq, id, received_at, body_file, source FROM delivery WHERE seq > :after ORDER BY seq LIMIT :most

-- name: oldest_of_source
SELECT seq, id, received_at, body_file, source, body_file = 1 OR (body IS NOT NULL AND body_size > 0) FROM delivery
WHERE source = :source AND event_type IS :type AND seq > :after ORDER BY seq LIMIT :most

-- name: next_type_of_source
SELECT event_type FROM delivery WHERE source = :source AND event_type > :after ORDER BY event_type LIMIT 1

-- name: retentions
SELECT source, keep_days, keep_body_days FROM retention

-- name: set_retention
INSERT INTO retention (source, keep_days, keep_body_days) VALUES (:source, :keep_days, :keep_body_days)
ON CONFLICT (source) DO UPDATE SET keep_days = excluded.keep_days, keep_body_days = excluded.keep_body_days

-- name: delete_retention
DELETE FROM retention WHERE source = :source

-- name: body_is_gone
SELECT 1 FROM delivery WHERE id = :id AND body IS NULL AND body_file = 0 AND body_size > 0

-- name: delete_jobless_delivery
DELETE FROM delivery WHERE id = :id AND NOT EXISTS (SELECT 1 FROM job WHERE job.delivery = :id)

-- name: ended_elsewhere
SELECT sum(last.outcome = 'succeeded'), sum(last.outcome IN ('failed', 'interrupted', 'timed_out')) FROM (
    SELECT job, process, outcome FROM attempt WHERE id > :after ORDER BY id DESC LIMIT 2000) AS last
CROSS JOIN job ON job.id = last.job
WHERE last.process <> :process AND job.task IN (SELECT value FROM json_each(:tasks))

-- name: count_happening
INSERT INTO happening (name, times, first_at, last_at, facts) VALUES (:name, :times, :first_at, :last_at, :facts)
ON CONFLICT (name) DO UPDATE SET times = times + excluded.times, last_at = excluded.last_at, facts = excluded.facts

-- name: shift_waits
UPDATE job SET due_at = due_at + :by WHERE state = 'scheduled' AND number > 0 AND seq IN (
    SELECT seq FROM job WHERE state = 'scheduled' AND number > 0 ORDER BY due_at LIMIT :most)

-- name: shift_waiting
UPDATE job SET due_at = :now WHERE seq IN (
    SELECT seq FROM job INDEXED BY job_queued WHERE state = 'queued' AND due_at > :now
    UNION ALL SELECT seq FROM job INDEXED BY job_blocked WHERE state = 'blocked' AND due_at > :now
    ORDER BY seq LIMIT :most)

-- name: deliveries_with_spare_bodies
SELECT seq, id, body_file, body_size,
       (body_file = 1 OR body IS NOT NULL) AND EXISTS (SELECT 1 FROM job WHERE job.delivery = delivery.id)
       AND NOT EXISTS (SELECT 1 FROM job WHERE job.delivery = delivery.id AND job.state <> 'succeeded')
FROM delivery WHERE seq > :after ORDER BY seq LIMIT :most

-- name: drop_body
UPDATE delivery SET body = NULL, body_file = 0 WHERE id = :id

-- name: event_key_far_behind
SELECT source, event_id FROM event_key WHERE (source, event_id) > (:source, :event_id)
ORDER BY source, event_id LIMIT 1 OFFSET :keys

-- name: delete_old_event_keys
DELETE FROM event_key WHERE (source, event_id) > (:source, :event_id)
AND (source, event_id) <= (:last_source, :last_event_id) AND until <= :now

-- name: delete_old_refusals
DELETE FROM refusal WHERE seq IN (SELECT seq FROM refusal WHERE at < :before ORDER BY seq LIMIT :most)

-- name: delete_old_redeliveries
DELETE FROM action WHERE at < :before AND id IN (
    SELECT id FROM action WHERE id >= 'd_' AND id < 'd`' ORDER BY id LIMIT :most)

-- name: delete_old_processes
DELETE FROM process WHERE ended_at < :before

-- name: tally
SELECT counts FROM tally WHERE span = :span AND at = :at AND name = :name

-- name: put_tally
INSERT INTO tally (span, at, name, counts) VALUES (:span, :at, :name, :counts)
ON CONFLICT (span, at, name) DO UPDATE SET counts = excluded.counts

-- name: delete_old_tallies
DELETE FROM tally WHERE span = :span AND at < :before

-- name: put_user
INSERT INTO user (name, role, password, created_at) VALUES (:name, :role, :password, :now)
ON CONFLICT (name) DO UPDATE SET role = excluded.role, password = excluded.password

-- name: user_is_there
SELECT role FROM user WHERE name = :name

-- name: delete_user
DELETE FROM user WHERE name = :name

-- name: put_token
INSERT INTO token (name, digest, role, user, created_at) VALUES (:name, :digest, :role, :user, :now)
ON CONFLICT DO NOTHING

-- name: delete_tokens_of
DELETE FROM token WHERE user = :user

-- name: delete_token
DELETE FROM token WHERE name = :name

-- name: insert_session
INSERT INTO session (id, user, begun_at, remote, agent) VALUES (:id, :user, :now, :remote, :agent)
ON CONFLICT DO NOTHING

-- name: delete_session
DELETE FROM session WHERE id = :id

-- name: delete_sessions_of
DELETE FROM session WHERE user = :user

-- name: delete_spare_sessions
DELETE FROM session WHERE begun_at < :before OR id IN (
    SELECT id FROM session WHERE user = :user ORDER BY begun_at DESC LIMIT -1 OFFSET :keep)

-- name: login_tries
SELECT tries, since FROM login_try WHERE name = :name

-- name: count_login_try
INSERT INTO login_try (name, tries, since) VALUES (:name, 1, :now) ON CONFLICT (name) DO UPDATE SET tries = tries + 1

-- name: take_back_login_try
UPDATE login_try SET tries = tries - 1 WHERE name = :name AND tries > 0

-- name: delete_login_try
DELETE FROM login_try WHERE name = :name

-- name: delete_old_login_tries
DELETE FROM login_try WHERE since <= :before
