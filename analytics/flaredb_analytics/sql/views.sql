-- Named questions. Each view says in its comment what one row means.

-- One election: at `time` the peer `leader` on `store` led `region` in `term`.
CREATE OR REPLACE VIEW leader_changes AS
SELECT
    time, region,
    CAST(payload ->> '$.term' AS BIGINT) AS term,
    CAST(payload ->> '$.index' AS BIGINT) AS index,
    CAST(payload ->> '$.leader' AS BIGINT) AS leader,
    store,
    CAST(payload ->> '$.previous' AS BIGINT) AS previous,
    cluster, id, seq
FROM events
WHERE type = 'region.leader_changed';

-- One split: `region` keeps what lies before the first key of `cut_at`, the regions in `made` begin at
-- these keys, in their order; `keys` and `bytes` are what each part held, `region` first. `seconds` is
-- the time from its trigger until PD had registered every new one; empty while it has not.
CREATE OR REPLACE VIEW splits AS
WITH told AS (
    SELECT *, unnest(range(1, CAST(json_array_length(payload, '$.parts') AS BIGINT))) AS part
    FROM events WHERE type = 'region.split'
), made AS (
    SELECT
        cluster, id, part,
        CAST(json_extract_string(payload, '$.parts[' || part || '].id') AS BIGINT) AS region
    FROM told
), registered AS (
    SELECT cluster, CAST(payload ->> '$.region.id' AS BIGINT) AS region, min(time) AS time
    FROM events WHERE type = 'pd.region_registered' GROUP BY ALL
), done AS (
    SELECT
        made.cluster, made.id, list(made.region ORDER BY made.part) AS made,
        CASE WHEN count(registered.time) = count(*) THEN max(registered.time) END AS time
    FROM made
    LEFT JOIN registered
    ON registered.cluster = made.cluster AND registered.region = made.region
    GROUP BY made.cluster, made.id
)
SELECT
    split.time, split.region,
    payload ->> '$.trigger' AS trigger,
    make_timestamp(CAST(payload ->> '$.triggered' AS BIGINT) * 1000) AS triggered,
    done.time AS registered,
    (epoch_ms(done.time) - CAST(payload ->> '$.triggered' AS BIGINT)) / 1000.0 AS seconds,
    done.made,
    (payload ->> '$.parts[*].start_text')[2:] AS cut_at,
    CAST(payload ->> '$.parts[*].keys' AS BIGINT[]) AS keys,
    CAST(payload ->> '$.parts[*].bytes' AS BIGINT[]) AS bytes,
    CAST(payload ->> '$.version' AS BIGINT) AS version,
    split.cluster, split.id, split.seq
FROM events AS split
JOIN done ON done.cluster = split.cluster AND done.id = split.id
WHERE split.type = 'region.split';

-- One merge: `region` absorbed its neighbour `source`, which served nobody for `seconds` before that.
CREATE OR REPLACE VIEW merges AS
WITH prepared AS (
    SELECT
        cluster, region,
        CAST(payload ->> '$.target' AS BIGINT) AS target,
        max(time) AS time
    FROM events WHERE type = 'region.merge_prepared' GROUP BY ALL
)
SELECT
    merged.time, merged.region,
    CAST(payload ->> '$.source' AS BIGINT) AS source,
    payload ->> '$.trigger' AS trigger,
    make_timestamp(CAST(payload ->> '$.triggered' AS BIGINT) * 1000) AS triggered,
    (epoch_ms(merged.time) - epoch_ms(prepared.time)) / 1000.0 AS seconds,
    CAST(payload ->> '$.version' AS BIGINT) AS version,
    payload ->> '$.start_text' AS start_key,
    payload ->> '$.end_text' AS end_key,
    CAST(payload ->> '$.keys' AS BIGINT) AS keys,
    CAST(payload ->> '$.bytes' AS BIGINT) AS bytes,
    merged.cluster, merged.id, merged.seq
FROM events AS merged
LEFT JOIN prepared
ON prepared.cluster = merged.cluster
    AND prepared.region = CAST(payload ->> '$.source' AS BIGINT)
    AND prepared.target = merged.region
WHERE merged.type = 'region.merged';

-- One merge that was given up: `region` did not absorb its neighbour `source`, for `reason`. Both go on.
CREATE OR REPLACE VIEW merges_given_up AS
SELECT
    time, region,
    CAST(payload ->> '$.source' AS BIGINT) AS source,
    payload ->> '$.reason' AS reason,
    CAST(payload ->> '$.version' AS BIGINT) AS version,
    cluster, id, seq
FROM events
WHERE type = 'region.merge_aborted';

-- One operator: what PD undertook to do to the replicas of a region, from store to store, at `time`;
-- `outcome` and `seconds` are empty while it runs. `steps` are those that were done, in their order.
-- `policy` chose it, `decision` is from what: what was seen, the best candidates with their scores, what
-- was left out, and what was expected; `outcomes` are these figures before, foretold, and in the end.
-- `predicted_seconds` are empty where nothing like it had been done before.
CREATE OR REPLACE VIEW operators AS
WITH ended AS (
    SELECT
        cluster, CAST(payload ->> '$.operator' AS BIGINT) AS operator,
        payload ->> '$.outcome' AS outcome,
        payload ->> '$.reason' AS why,
        CAST(payload ->> '$.ms' AS BIGINT) / 1000.0 AS seconds,
        CAST(payload ->> '$.bytes' AS BIGINT) AS bytes,
        nullif(CAST(payload ->> '$.predicted_ms' AS BIGINT), 0) / 1000.0 AS predicted_seconds,
        payload -> '$.outcomes' AS outcomes
    FROM events WHERE type = 'operator.ended'
), stepped AS (
    SELECT
        cluster, CAST(payload ->> '$.operator' AS BIGINT) AS operator,
        list(payload ->> '$.step' ORDER BY seq) AS steps
    FROM events WHERE type = 'operator.stepped' GROUP BY ALL
), started AS (
    SELECT *, CAST(payload ->> '$.operator' AS BIGINT) AS operator
    FROM events WHERE type = 'operator.started'
)
SELECT
    started.cluster, started.time, started.operator,
    payload ->> '$.kind' AS kind,
    started.region,
    CAST(payload ->> '$.remove.store' AS BIGINT) AS from_store,
    CAST(payload ->> '$.add.store' AS BIGINT) AS to_store,
    payload ->> '$.trigger' AS trigger,
    payload ->> '$.reason' AS reason,
    coalesce(stepped.steps, []) AS steps,
    ended.outcome, ended.why, ended.seconds, ended.bytes,
    payload -> '$.before' AS before,
    payload -> '$.expected' AS expected,
    payload ->> '$.decision.policy' AS policy,
    payload -> '$.decision' AS decision,
    ended.predicted_seconds, ended.outcomes,
    started.id, started.seq
FROM started
LEFT JOIN ended ON ended.cluster = started.cluster AND ended.operator = started.operator
LEFT JOIN stepped ON stepped.cluster = started.cluster AND stepped.operator = started.operator;

-- One reason why a policy, of a balance, repair or drain, could do nothing from `time` on: until the next of
-- the same policy, or until an operator of it. `decision` is what it compared and left out.
CREATE OR REPLACE VIEW nothing_to_do AS
SELECT
    time,
    payload ->> '$.policy' AS policy,
    payload ->> '$.reason' AS reason,
    payload -> '$.decision' AS decision,
    cluster, id, seq
FROM events
WHERE type = 'balance.nothing_to_do';

-- One move of a replica from store to store, be it to even stores out, to empty one, to make up for a
-- lost one, or because somebody wished it; `outcome` and `seconds` are empty while it runs. `in_time`:
-- whether it was done within five minutes (SC-004).
CREATE OR REPLACE VIEW moves AS
SELECT
    time, operator, region, from_store, to_store, trigger, reason,
    outcome, why, seconds, bytes,
    CASE WHEN outcome = 'done' THEN seconds <= 300 END AS in_time,
    cluster, id, seq
FROM operators
WHERE kind IN ('move', 'replace');

-- One change of a store: it started or stopped, or PD hears it (`up`), has not heard it for some
-- seconds (`disconnected`) or for longer (`down`): `silent` is for how many seconds it was not heard.
-- Or somebody wants it emptied (`draining`) or kept (`serving`), or it is out of the cluster for ever
-- (`removed`); PD's journal tells that, `seq` is that of its own stream, and there is no `boot`.
CREATE OR REPLACE VIEW store_changes AS
SELECT
    time, store,
    CASE WHEN type LIKE 'pd.%' THEN substr(type, 10) ELSE substr(type, 7) END AS state,
    payload ->> '$.previous' AS previous,
    CAST(payload ->> '$.boot' AS BIGINT) AS boot,
    CAST(payload ->> '$.silent_ms' AS BIGINT) / 1000.0 AS silent,
    cluster, id, seq
FROM events
WHERE type IN (
    'store.started', 'store.stopped', 'store.up', 'store.disconnected', 'store.down',
    'pd.store_draining', 'pd.store_serving', 'pd.store_removed'
);

-- One region as last reported, in the five minutes before the newest heartbeat of its cluster; the
-- leader is the one of the newest term, be it told by a heartbeat or by an election since.
CREATE OR REPLACE VIEW regions_now AS
WITH newest AS (
    SELECT cluster, max(time) AS time FROM heartbeats GROUP BY cluster
), reported AS (
    SELECT told.*
    FROM region_heartbeats AS told
    JOIN newest ON newest.cluster = told.cluster
    WHERE told.time >= newest.time - INTERVAL 5 MINUTE
        AND NOT EXISTS (
            SELECT 1 FROM merges
            WHERE merges.cluster = told.cluster AND merges.source = told.region
        )
    QUALIFY 1 = row_number() OVER (
        PARTITION BY told.cluster, told.region
        ORDER BY told.version DESC, told.conf_ver DESC, told.term DESC, told.time DESC
    )
), elected AS (
    SELECT * FROM leader_changes
    QUALIFY 1 = row_number() OVER (PARTITION BY cluster, region ORDER BY term DESC, seq DESC)
)
SELECT
    reported.region, start_key, end_key, version, conf_ver,
    CASE WHEN elected.term > reported.term THEN elected.leader ELSE reported.leader END AS leader,
    CASE WHEN elected.term > reported.term THEN elected.store ELSE reported.store END AS store,
    greatest(reported.term, coalesce(elected.term, 0)) AS term,
    CAST(peers ->> '$[*].store' AS BIGINT[]) AS stores,
    bytes, keys, pending, down, asleep, reported.time AS reported,
    reported.cluster, peers, start_b64, end_b64
FROM reported
LEFT JOIN elected ON elected.cluster = reported.cluster AND elected.region = reported.region
ORDER BY reported.cluster, start_key, reported.region;

-- One store as last reported, with the sums over the regions that it leads.
CREATE OR REPLACE VIEW store_load AS
WITH latest AS (
    SELECT * FROM heartbeats
    QUALIFY 1 = row_number() OVER (PARTITION BY cluster, store ORDER BY time DESC, seq DESC)
), led AS (
    SELECT
        cluster, store, count(*) AS leaders,
        CAST(sum(bytes) AS BIGINT) AS bytes, CAST(sum(keys) AS BIGINT) AS keys
    FROM regions_now
    GROUP BY cluster, store
)
SELECT
    latest.cluster, latest.store, latest.time AS reported, latest.boot, latest.regions,
    coalesce(led.leaders, 0) AS leaders,
    coalesce(led.bytes, 0) AS led_bytes, coalesce(led.keys, 0) AS led_keys,
    latest.capacity, latest.used, latest.free,
    round(latest.used / nullif(latest.capacity, 0), 4) AS used_share,
    latest.cpu, latest.frames_refused, latest.labels
FROM latest
LEFT JOIN led ON led.cluster = latest.cluster AND led.store = latest.store
ORDER BY latest.cluster, latest.store;

-- One store as history knows it last: what was decided about it (`life`) and since when it is heard or
-- not (`health`), with its last report. Of one that was removed nothing else counts.
CREATE OR REPLACE VIEW stores_now AS
WITH told AS (
    SELECT *, state IN ('draining', 'serving', 'removed') AS decided FROM store_changes
    WHERE store IS NOT NULL
    QUALIFY 1 = row_number() OVER (
        PARTITION BY cluster, store, decided ORDER BY time DESC, seq DESC
    )
), stores AS (
    SELECT
        cluster, store,
        coalesce(max(state) FILTER (decided), 'serving') AS life,
        max(time) FILTER (decided) AS decided_at,
        max(state) FILTER (NOT decided) AS heard,
        max(time) FILTER (NOT decided) AS since
    FROM told GROUP BY cluster, store
)
SELECT
    stores.store, life,
    CASE
        WHEN life = 'removed' THEN NULL
        WHEN heard = 'started' THEN 'up'
        ELSE heard
    END AS health,
    CASE WHEN life = 'removed' THEN decided_at ELSE since END AS since,
    regions, leaders, led_bytes, led_keys, capacity, used, free, used_share, cpu, labels, reported,
    stores.cluster
FROM stores
LEFT JOIN store_load ON store_load.cluster = stores.cluster AND store_load.store = stores.store
ORDER BY stores.cluster, stores.store;

-- One silence of a store for more than two heartbeat periods; `until` is empty while it lasts.
CREATE OR REPLACE VIEW heartbeat_gaps AS
WITH beats AS (
    SELECT
        cluster, store, boot, time AS since,
        lead(time) OVER (PARTITION BY cluster, store ORDER BY time, seq) AS until,
        max(time) OVER (PARTITION BY cluster) AS newest
    FROM heartbeats
)
SELECT
    cluster, store, boot, since, until,
    epoch(coalesce(until, newest) - since) AS seconds
FROM beats
WHERE coalesce(until, newest) - since > INTERVAL 60 SECOND
ORDER BY since;

-- One promise of the specification for one start of a cluster: what was measured, and whether it
-- was met. `met` is empty while that cannot be known.
CREATE OR REPLACE VIEW slo_report AS
WITH starts AS (
    SELECT cluster, time, json_array_length(payload, '$.regions') AS regions
    FROM events WHERE type = 'pd.bootstrapped'
), elections AS (
    SELECT cluster, min(CAST(payload ->> '$.ms' AS BIGINT)) / 1000.0 AS seconds
    FROM events WHERE type = 'pd.leaders_elected' GROUP BY cluster
), newest AS (
    SELECT max(time) AS time FROM (
        SELECT time FROM events UNION ALL SELECT time FROM heartbeats
    )
)
SELECT
    'SC-001' AS id,
    'every leader is elected within 60 s of the start' AS promise,
    starts.cluster, starts.time AS start, starts.regions,
    elections.seconds AS measured, 60.0 AS bound,
    CASE
        WHEN elections.seconds IS NOT NULL THEN elections.seconds <= 60
        WHEN newest.time > starts.time + INTERVAL 60 SECOND THEN false
    END AS met
FROM starts
CROSS JOIN newest
LEFT JOIN elections ON elections.cluster = starts.cluster
ORDER BY starts.time;
