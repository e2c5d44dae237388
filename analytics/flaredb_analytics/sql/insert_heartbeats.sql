-- `$rows` is a JSON array of `HeartbeatRow`. Returns the keys of those that are new.
INSERT OR IGNORE INTO heartbeats BY NAME
WITH incoming AS (
    SELECT unnest(from_json($rows::JSON, '[{
        "cluster": "VARCHAR", "id": "VARCHAR", "time": "BIGINT", "stream": "VARCHAR",
        "seq": "BIGINT", "payload": "VARCHAR"
    }]')) AS r
), told AS (
    SELECT r, from_json(r.payload::JSON, '{
        "full": "BOOLEAN", "chunk": "BIGINT", "chunks": "BIGINT", "store": {
            "store": "BIGINT", "boot": "BIGINT", "regions": "BIGINT", "leaders": "BIGINT",
            "capacity": "BIGINT", "used": "BIGINT", "free": "BIGINT", "cpu": "DOUBLE",
            "frames_refused": "BIGINT", "labels": "JSON"
        }
    }') AS message
    FROM incoming
), split AS (
    SELECT r, message, message.store AS s FROM told
)
SELECT
    r.cluster, r.id, epoch_ms(r.time) AS time, r.stream, r.seq, s.*,
    message."full" AS whole, message.chunk, message.chunks
FROM split
RETURNING cluster, id, epoch_ms(time);
