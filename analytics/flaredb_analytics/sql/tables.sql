-- What is kept. `time` is UTC by the clock of whoever says so; `seq` is the place in `stream`.

-- One row per fact of FLAREDB_EVT and FLAREDB_PD, types that nobody knows yet included.
-- `number` is the order of arrival here, which a tail goes by. The time is part of the key because
-- what is said before a cluster has its id would otherwise look like the same of an earlier one.
CREATE TABLE events (
    cluster VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    time TIMESTAMP NOT NULL,
    region BIGINT,
    store BIGINT,
    stream VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    number BIGINT NOT NULL,
    subject VARCHAR NOT NULL,
    payload JSON NOT NULL,
    PRIMARY KEY (cluster, id, time)
);

-- One row per heartbeat message of a store.
CREATE TABLE heartbeats (
    cluster VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    time TIMESTAMP NOT NULL,
    store BIGINT,
    boot BIGINT,
    regions BIGINT,
    leaders BIGINT,
    capacity BIGINT,
    used BIGINT,
    free BIGINT,
    cpu DOUBLE,
    frames_refused BIGINT,
    labels JSON,
    whole BOOLEAN,
    chunk BIGINT,
    chunks BIGINT,
    stream VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (cluster, id, time)
);

-- One row per region in a heartbeat, as its leader's store told it.
CREATE TABLE region_heartbeats (
    cluster VARCHAR NOT NULL,
    heartbeat VARCHAR NOT NULL,
    time TIMESTAMP NOT NULL,
    store BIGINT,
    region BIGINT,
    start_key VARCHAR,
    end_key VARCHAR,
    start_b64 VARCHAR,
    end_b64 VARCHAR,
    version BIGINT,
    conf_ver BIGINT,
    leader BIGINT,
    term BIGINT,
    peers JSON,
    bytes BIGINT,
    keys BIGINT,
    read_keys BIGINT,
    read_bytes BIGINT,
    written_keys BIGINT,
    written_bytes BIGINT,
    pending JSON,
    down JSON,
    asleep BOOLEAN
);

-- What is missing between two places of a stream, and why.
CREATE TABLE gaps (
    stream VARCHAR NOT NULL,
    after_seq BIGINT NOT NULL,
    before_seq BIGINT NOT NULL,
    found TIMESTAMP NOT NULL,
    reason VARCHAR NOT NULL,
    detail VARCHAR NOT NULL
);

-- How far each stream has been read: `seq` and `stored` name the last record, `created` the stream.
CREATE TABLE cursors (
    stream VARCHAR PRIMARY KEY,
    created BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    stored BIGINT NOT NULL
);
