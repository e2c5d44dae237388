"""Raft for one group, as a pure core: no I/O, no clock, no dice; one door, `RaftNode`."""

from flaredb.raft.config import Config
from flaredb.raft.node import RaftNode
from flaredb.raft.ready import LeadershipChange, ReadState, Ready, Send
from flaredb.raft.roles import Role
from flaredb.raft.storage import MemoryStorage, Storage

__all__ = [
    "Config",
    "LeadershipChange",
    "MemoryStorage",
    "RaftNode",
    "ReadState",
    "Ready",
    "Role",
    "Send",
    "Storage",
]
