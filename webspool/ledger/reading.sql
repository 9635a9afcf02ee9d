-- Statements of readers. Those named `..._where_...` are fragments, joined by AND after the list they narrow; those
-- named `..._found_...` find the pages of lists in their several ways, see paging.py, and names in braces are filled in.

-- name: counters
SELECT name, value FROM counter

-- name: live_instances
SELECT id, boot, pid, start, engine, started_at, stopping, generation FROM instance WHERE ended_at IS NULL ORDER BY started_at DESC

-- name: processes_of
SELECT process.id, process.pid, process.start, process.generation, process.tried, process.broken, process.runner_pid,
       process.joined_at, (SELECT count(*) FROM attempt WHERE attempt.process = process.id AND attempt.ended_at IS NULL) AS busy
FROM process WHERE process.instance = :instance AND process.ended_at IS NULL

-- name: happenings
SELECT name, times, first_at, last_at, facts FROM happening ORDER BY last_at DESC, name

-- name: happening
SELECT last_at, facts FROM happening WHERE name = :name

-- name: running_jobs
SELECT attempt.id AS attempt, job.id, job.task, attempt.started_at, process.pid
FROM attempt JOIN job ON job.id = attempt.job JOIN process ON process.id = attempt.process
WHERE attempt.ended_at IS NULL AND process.instance = :instance ORDER BY attempt.started_at, job.seq

-- name: pauses
SELECT name, since AS since_at, actor FROM pause ORDER BY since

-- name: waiting_tasks
SELECT task, count(*) AS jobs FROM (
    SELECT task FROM job INDEXED BY job_scheduled WHERE state = 'scheduled'
    UNION ALL SELECT task FROM job INDEXED BY job_queued WHERE state = 'queued'
    UNION ALL SELECT task FROM job INDEXED BY job_blocked WHERE state = 'blocked'
    UNION ALL SELECT job.task FROM attempt INDEXED BY attempt_open CROSS JOIN job ON job.id = attempt.job
    WHERE attempt.ended_at IS NULL AND job.state = 'running')
GROUP BY task

-- name: unknown_tasks
SELECT substr(blocked_on, 9) AS task, count(*) AS jobs FROM job
WHERE state = 'blocked' AND blocked_on >= 'unknown:' AND blocked_on < 'unknown;' GROUP BY blocked_on

-- name: jobs
SELECT job.seq, job.id, job.task, job.state, job.blocked_on, job.attempts, job.interruptions, job.priority, job.key,
       job.delivery, job.source, delivery.event_type AS type, job.created_at, job.due_at, job.started_at,
       job.finished_at, job.error, job.result, job.parent
FROM job LEFT JOIN delivery ON delivery.id = job.delivery

-- name: job_order
 ORDER BY job.seq DESC LIMIT :limit

-- name: job_seq
SELECT seq FROM job WHERE id = :id

-- name: job_ids
SELECT job.seq, job.id FROM job

-- name: job_found_any
SELECT job.{what} FROM job WHERE true

-- name: job_found_any_with_delivery
SELECT job.{what} FROM job LEFT JOIN delivery ON delivery.id = job.delivery WHERE true

-- name: job_found_in_state
SELECT job.{what} FROM job INDEXED BY job_{state} WHERE job.state = '{state}'

-- name: job_found_in_state_with_delivery
SELECT job.{what} FROM job INDEXED BY job_{state} LEFT JOIN delivery ON delivery.id = job.delivery
WHERE job.state = '{state}'

-- name: job_found_running
SELECT job.{what} FROM attempt INDEXED BY attempt_open CROSS JOIN job ON job.id = attempt.job
WHERE attempt.ended_at IS NULL AND job.state = 'running'

-- name: job_found_running_with_delivery
SELECT job.{what} FROM attempt INDEXED BY attempt_open CROSS JOIN job ON job.id = attempt.job
LEFT JOIN delivery ON delivery.id = job.delivery
WHERE attempt.ended_at IS NULL AND job.state = 'running'

-- name: job_found_with_error
SELECT job.{what} FROM job INDEXED BY job_with_error WHERE job.error IS NOT NULL

-- name: job_found_with_error_with_delivery
SELECT job.{what} FROM job INDEXED BY job_with_error LEFT JOIN delivery ON delivery.id = job.delivery
WHERE job.error IS NOT NULL

-- name: job_found_by_delivery
SELECT job.seq FROM delivery INDEXED BY delivery_by_type CROSS JOIN job INDEXED BY job_by_delivery
                                                                     ON job.delivery = delivery.id
WHERE delivery.source = :kind_source AND delivery.event_type IS :kind_type

-- name: job_where_page
job.seq IN (SELECT value FROM json_each(:page))

-- name: job_where_near
job.seq > :near

-- name: job_where_id
job.id = :id

-- name: job_where_task
job.task = :task

-- name: job_where_source
job.source = :source

-- name: job_where_type
delivery.event_type GLOB :type

-- name: job_where_since
job.created_at >= :since AND job.seq > coalesce((
    SELECT max(seq) FROM job INDEXED BY job_sampled WHERE seq % 64 = 0 AND seq < coalesce((
        SELECT min(seq) FROM job INDEXED BY job_sampled WHERE seq % 64 = 0 AND created_at >= :since), 1 << 62)), 0)

-- name: job_where_until
job.created_at < :until AND job.seq < coalesce((
    SELECT min(seq) FROM job INDEXED BY job_sampled WHERE seq % 64 = 0 AND seq > coalesce((
        SELECT max(seq) FROM job INDEXED BY job_sampled WHERE seq % 64 = 0 AND created_at < :until), 0)), 1 << 62)

-- name: job_where_error
instr(lower(job.error), lower(:error))

-- name: job_where_text
(instr(job.arguments, :text) OR instr(job.arguments, :escaped)
 OR instr(delivery.body, CAST(:text AS BLOB)) OR instr(delivery.body, CAST(:escaped AS BLOB))
 OR (delivery.body_file AND (body_holds(delivery.id, :text) OR body_holds(delivery.id, :escaped))))

-- name: job_where_after
job.seq < :after

-- name: job_where_upto
job.seq <= :upto

-- name: job_where_down_to
job.seq >= :down_to

-- name: job_newest
SELECT max(seq) AS seq FROM job

-- name: job_more
SELECT calling, arguments, number, base, cancelling,
       (SELECT headers FROM delivery WHERE delivery.id = job.delivery) AS headers
FROM job WHERE id = :id

-- name: attempts_of_job
SELECT id, number, outcome, charged, started_at, ended_at, ended_at - started_at AS duration_seconds, error, traceback,
       exit_code, signal, late, output_bytes, output_cut, process,
       (SELECT pid FROM process WHERE process.id = attempt.process) AS pid
FROM attempt WHERE job = :job ORDER BY number

-- name: jobs_of_delivery
SELECT id, task, state FROM job WHERE delivery = :delivery ORDER BY seq

-- name: deliveries
SELECT seq, id, source, event_type AS type, event_id, received_at, status, method, url, remote, body_size, body_sha256,
       duplicates, parent
FROM delivery

-- name: delivery_order
 ORDER BY delivery.seq DESC LIMIT :limit

-- name: delivery_seq
SELECT seq FROM delivery WHERE id = :id

-- name: delivery_where_id
delivery.id = :id

-- name: delivery_where_source
delivery.source = :source

-- name: delivery_where_type
delivery.event_type GLOB :type

-- name: delivery_where_since
delivery.received_at >= :since AND delivery.seq > coalesce((
    SELECT max(seq) FROM delivery INDEXED BY delivery_sampled WHERE seq % 64 = 0 AND seq < coalesce((
        SELECT min(seq) FROM delivery INDEXED BY delivery_sampled WHERE seq % 64 = 0 AND received_at >= :since),
        1 << 62)), 0)

-- name: delivery_where_until
delivery.received_at < :until AND delivery.seq < coalesce((
    SELECT min(seq) FROM delivery INDEXED BY delivery_sampled WHERE seq % 64 = 0 AND seq > coalesce((
        SELECT max(seq) FROM delivery INDEXED BY delivery_sampled WHERE seq % 64 = 0 AND received_at < :until), 0)),
    1 << 62)

-- name: delivery_where_text
(instr(delivery.body, CAST(:text AS BLOB)) OR instr(delivery.body, CAST(:escaped AS BLOB))
 OR (delivery.body_file AND (body_holds(delivery.id, :text) OR body_holds(delivery.id, :escaped))))

-- name: delivery_where_after
delivery.seq < :after

-- name: delivery_where_upto
delivery.seq <= :upto

-- name: delivery_where_down_to
delivery.seq >= :down_to

-- name: delivery_newest
SELECT max(seq) AS seq FROM delivery

-- name: delivery_found_any
SELECT delivery.seq FROM delivery WHERE true

-- name: delivery_found_of_kind
SELECT delivery.seq FROM delivery INDEXED BY delivery_by_type
WHERE delivery.source = :kind_source AND delivery.event_type IS :kind_type

-- name: delivery_sources
WITH RECURSIVE each(source) AS (
    SELECT min(source) FROM delivery
    UNION ALL SELECT (SELECT min(source) FROM delivery WHERE source > each.source) FROM each
    WHERE each.source IS NOT NULL)
SELECT source FROM each WHERE source IS NOT NULL LIMIT :most

-- name: delivery_types
WITH RECURSIVE each(type) AS (
    SELECT min(event_type) FROM delivery WHERE source = :source
    UNION ALL SELECT (SELECT min(event_type) FROM delivery WHERE source = :source AND event_type > each.type) FROM each
    WHERE each.type IS NOT NULL)
SELECT type FROM each WHERE type IS NOT NULL LIMIT :most

-- name: delivery_count_of_kind
SELECT count(*) AS number FROM (
    SELECT 1 FROM delivery WHERE source = :kind_source AND event_type IS :kind_type LIMIT :most)

-- name: job_count_of_task
SELECT count(*) AS number FROM (SELECT 1 FROM job WHERE task = :task LIMIT :most)

-- name: delivery_where_page
delivery.seq IN (SELECT value FROM json_each(:page))

-- name: delivery_where_near
delivery.seq > :near

-- name: delivery_where_has_job
EXISTS (SELECT 1 FROM job INDEXED BY job_by_delivery WHERE job.delivery = delivery.id AND {job})

-- name: delivery_where_is_of_jobs
delivery.id IN ({jobs})

-- name: delivery_more
SELECT headers, body, body_file FROM delivery WHERE id = :id

-- name: refusals
SELECT seq, id, source, cause, status, method, url, remote, body_size, at AS received_at FROM refusal

-- name: refusal_order
 ORDER BY refusal.seq DESC LIMIT :limit

-- name: refusal_seq
SELECT seq FROM refusal WHERE id = :id

-- name: refusal_where_id
refusal.id = :id

-- name: refusal_where_source
refusal.source = :source

-- name: refusal_where_since
refusal.at >= :since

-- name: refusal_where_until
refusal.at < :until

-- name: refusal_where_error
instr(refusal.cause, lower(:error))

-- name: refusal_where_text
(instr(refusal.body, CAST(:text AS BLOB)) OR instr(refusal.body, CAST(:escaped AS BLOB)))

-- name: refusal_where_after
refusal.seq < :after

-- name: refusal_where_upto
refusal.seq <= :upto

-- name: refusal_where_down_to
refusal.seq >= :down_to

-- name: refusal_newest
SELECT max(seq) AS seq FROM refusal

-- name: refusal_more
SELECT headers, body, 0 AS body_file FROM refusal WHERE id = :id

-- name: failures
SELECT task, likeness(error) AS alike, sum(jobs) AS jobs, sum(dead) AS dead, min(first_at) AS first_at,
       max(last_at) AS last_at, max(example) AS example, error, count(DISTINCT CASE
           WHEN error GLOB '[0-9]* of [0-9]* attempts spent: *' THEN substr(error, instr(error, 'spent: ') + 7)
           ELSE error END) AS messages
FROM (
    SELECT job.task, job.error, count(*) AS jobs, sum(job.state = 'dead') AS dead,
           min(coalesce(job.finished_at, job.started_at, job.created_at)) AS first_at,
           max(coalesce(job.finished_at, job.started_at, job.created_at)) AS last_at, max(job.id) AS example
    FROM job INDEXED BY job_with_error
    WHERE job.error IS NOT NULL AND job.state NOT IN ('succeeded', 'cancelled')

-- name: failures_with_delivery
SELECT task, likeness(error) AS alike, sum(jobs) AS jobs, sum(dead) AS dead, min(first_at) AS first_at,
       max(last_at) AS last_at, max(example) AS example, error, count(DISTINCT CASE
           WHEN error GLOB '[0-9]* of [0-9]* attempts spent: *' THEN substr(error, instr(error, 'spent: ') + 7)
           ELSE error END) AS messages
FROM (
    SELECT job.task, job.error, count(*) AS jobs, sum(job.state = 'dead') AS dead,
           min(coalesce(job.finished_at, job.started_at, job.created_at)) AS first_at,
           max(coalesce(job.finished_at, job.started_at, job.created_at)) AS last_at, max(job.id) AS example
    FROM job INDEXED BY job_with_error LEFT JOIN delivery ON delivery.id = job.delivery
    WHERE job.error IS NOT NULL AND job.state NOT IN ('succeeded', 'cancelled')

-- name: failure_groups
 GROUP BY job.task, job.error)
GROUP BY task, alike ORDER BY jobs DESC LIMIT :most

-- name: newest
SELECT (SELECT coalesce(max(seq), 0) FROM delivery) AS delivery, (SELECT coalesce(max(seq), 0) FROM refusal) AS refusal

-- name: deliveries_after
SELECT seq, id, source, event_type AS type, event_id, received_at, status, body_size, parent
FROM delivery WHERE seq > :after ORDER BY seq LIMIT 1000

-- name: refusals_after
SELECT seq, id, source, cause, status, received_at FROM (SELECT *, at AS received_at FROM refusal)
WHERE seq > :after ORDER BY seq LIMIT 1000

-- name: open_attempts
SELECT id FROM attempt WHERE ended_at IS NULL

-- name: attempts_ended_since
SELECT id FROM attempt WHERE id >= :bound AND id < 'b' AND ended_at IS NOT NULL

-- name: attempt_with_job
SELECT attempt.id AS attempt, job.id AS job, job.task, job.delivery, attempt.number, attempt.outcome, job.state,
       attempt.error, attempt.started_at, attempt.ended_at, attempt.ended_at - attempt.started_at AS duration_seconds
FROM attempt JOIN job ON job.id = attempt.job WHERE attempt.id = :id AND attempt.ended_at IS NOT NULL

-- name: tallies
SELECT at, name, counts FROM tally WHERE span = :span AND at >= :since ORDER BY at

-- name: tallies_of
SELECT at, counts FROM tally WHERE span = :span AND at >= :since AND name = :name ORDER BY at

-- name: user
SELECT name, role, password FROM user WHERE name = :name

-- name: any_user
SELECT 1 AS found FROM user LIMIT 1

-- name: users
SELECT name, role, created_at FROM user ORDER BY name

-- name: tokens
SELECT name, role, user, created_at FROM token ORDER BY name

-- name: token
SELECT name, role FROM token WHERE digest = :digest

-- name: session
SELECT session.user, user.role, (SELECT count(*) FROM user) AS users
FROM session LEFT JOIN user ON user.name = session.user WHERE session.id = :id AND session.begun_at >= :since

-- name: job_created
SELECT created_at AS at FROM job WHERE seq <= :seq ORDER BY seq DESC LIMIT 1

-- name: delivery_created
SELECT received_at AS at FROM delivery WHERE seq <= :seq ORDER BY seq DESC LIMIT 1

-- name: refusal_created
SELECT at FROM refusal WHERE seq <= :seq ORDER BY seq DESC LIMIT 1

-- name: highest_priority
SELECT priority FROM job WHERE state = 'queued' AND priority < :below ORDER BY priority DESC LIMIT 1

-- name: longest_queued
SELECT id, task, due_at FROM job WHERE state = 'queued' AND priority = :priority ORDER BY due_at LIMIT 1

-- name: tasks_known
SELECT name, known, concurrency, policy FROM task ORDER BY name

-- name: known_sources
SELECT source FROM delivery WHERE source > :after ORDER BY source LIMIT 1

-- name: copies_of_job
SELECT id, task, state FROM job WHERE parent = :id ORDER BY seq DESC LIMIT 20

-- name: open_jobs
SELECT task, state, count(*) AS jobs FROM job INDEXED BY job_queued WHERE state = 'queued' GROUP BY task
UNION ALL
SELECT task, state, count(*) FROM job INDEXED BY job_blocked WHERE state = 'blocked' GROUP BY task
UNION ALL
SELECT job.task, job.state, count(*) FROM attempt INDEXED BY attempt_open CROSS JOIN job ON job.id = attempt.job
WHERE attempt.ended_at IS NULL AND job.state = 'running' GROUP BY job.task

-- name: oldest_queued
SELECT min(due_at) AS due_at FROM job INDEXED BY job_queued WHERE state = 'queued' HAVING min(due_at) IS NOT NULL

-- name: scheduled
SELECT seq, id, task, source, delivery, attempts, number, key, priority, created_at, due_at, error
FROM job INDEXED BY job_scheduled
WHERE state = 'scheduled' AND (due_at, seq) > (:due_at, :seq)
AND (:task IS NULL OR task = :task) AND (:source IS NULL OR source = :source)
ORDER BY due_at, seq LIMIT :limit

-- name: running_by_task
SELECT job.task, count(*) AS jobs FROM attempt INDEXED BY attempt_open CROSS JOIN job ON job.id = attempt.job
WHERE attempt.ended_at IS NULL AND job.state = 'running' GROUP BY job.task

-- name: tallied
SELECT at, name, counts FROM tally WHERE span = :span AND at >= :since AND name >= :kind AND name < :below

-- name: accepted_of_sources
SELECT name, sum(counts ->> 'accepted') AS accepted, max(at) AS last_at FROM tally
WHERE span = :span AND at >= :since AND name >= 'source:' AND name < 'source;' AND counts ->> 'accepted' > 0
GROUP BY name

-- name: actions
SELECT id, verb, arguments, answer, actor, at FROM (
    SELECT * FROM action WHERE id >= :bound AND id < :before ORDER BY id DESC LIMIT :window)
WHERE (:actor IS NULL OR instr(lower(actor), lower(:actor))) AND (:verb IS NULL OR verb = :verb)
AND (:text IS NULL OR instr(arguments, :text) OR instr(answer, :text)) ORDER BY id DESC LIMIT :limit

-- name: action_at_the_end
SELECT min(id) AS id, count(*) AS number FROM (
    SELECT id FROM action WHERE id >= :bound AND id < :before ORDER BY id DESC LIMIT :window)

-- name: last_delivery
SELECT id, event_type AS type, received_at, status FROM delivery WHERE seq = :seq

-- name: failing
SELECT job.id FROM job INDEXED BY job_with_error
WHERE job.error IS NOT NULL AND likeness(job.error) IN (SELECT value FROM json_each(:alike))

-- name: failing_order
 ORDER BY job.seq LIMIT :limit

-- name: error_of_job
SELECT error FROM job WHERE id = :id

-- name: last_traceback
SELECT substr(traceback, -8000) AS traceback FROM attempt WHERE job = :job AND traceback IS NOT NULL
ORDER BY number DESC LIMIT 1

-- name: newest_of_type
SELECT max(seq) AS seq FROM delivery INDEXED BY delivery_by_type WHERE source = :source AND event_type IS :type
