"""How processes reach each other: one port, one adapter on NATS, one in memory."""
