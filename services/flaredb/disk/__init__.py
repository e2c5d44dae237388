"""Where a store keeps its bytes: one port, one adapter on LMDB, one in memory."""
