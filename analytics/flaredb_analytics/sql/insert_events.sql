-- `$rows` is a JSON array of `EventRow` with `number`. What is known already is left as it is.
INSERT OR IGNORE INTO events BY NAME
SELECT r.* REPLACE (epoch_ms(r.time) AS time)
FROM (
    SELECT unnest(from_json($rows::JSON, '[{
        "cluster": "VARCHAR", "id": "VARCHAR", "type": "VARCHAR", "time": "BIGINT",
        "region": "BIGINT", "store": "BIGINT", "stream": "VARCHAR", "seq": "BIGINT",
        "number": "BIGINT", "subject": "VARCHAR", "payload": "VARCHAR"
    }]')) AS r
);
