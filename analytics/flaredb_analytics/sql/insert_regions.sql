-- `$rows` is a JSON array of `HeartbeatRow`: the regions of each.
INSERT INTO region_heartbeats BY NAME
SELECT
    h.cluster, h.id AS heartbeat, epoch_ms(h.time) AS time,
    (h.payload::JSON ->> '$.store.store')::BIGINT AS store,
    r.id AS region, r.start_text AS start_key, r.end_text AS end_key,
    r."start" AS start_b64, r."end" AS end_b64, r.version, r.conf_ver, r.leader, r.term, r.peers,
    r.bytes, r.keys, r.read_keys, r.read_bytes, r.written_keys, r.written_bytes,
    coalesce(r.pending, '[]') AS pending, coalesce(r.down, '[]') AS down,
    coalesce(r.asleep, false) AS asleep
FROM (
    SELECT h, unnest(from_json(h.payload::JSON -> '$.regions', '[{
        "id": "BIGINT", "start": "VARCHAR", "end": "VARCHAR", "start_text": "VARCHAR",
        "end_text": "VARCHAR", "version": "BIGINT", "conf_ver": "BIGINT", "leader": "BIGINT",
        "term": "BIGINT", "peers": "JSON", "bytes": "BIGINT", "keys": "BIGINT",
        "read_keys": "BIGINT", "read_bytes": "BIGINT", "written_keys": "BIGINT",
        "written_bytes": "BIGINT", "pending": "JSON", "down": "JSON", "asleep": "BOOLEAN"
    }]')) AS r
    FROM (
        SELECT unnest(from_json($rows::JSON, '[{
            "cluster": "VARCHAR", "id": "VARCHAR", "time": "BIGINT", "payload": "VARCHAR"
        }]')) AS h
    )
);
