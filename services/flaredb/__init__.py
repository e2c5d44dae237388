"""FlareDB: an ordered, range-sharded, replicated key-value store on NATS."""
