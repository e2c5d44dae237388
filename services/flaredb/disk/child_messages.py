"""What a store says to the child processes of its disk, and what they answer.

Both directions are frames on one socket: the length in four bytes, big-endian, then MessagePack.
"""

import struct
from typing import Final

import msgspec

from flaredb.disk.disk import Change, Job, JobResult

FRAME_HEAD: Final = struct.Struct(">I")


class OpenFolder(msgspec.Struct, frozen=True, tag=True):
    """The first frame to a child: the folder that it works on, and how."""

    folder: str
    map_size: int
    lock_wait: float = 0.0
    """For how many seconds a writer waits for a dying predecessor's lock."""
    sync: bool = True
    """False loses acknowledged batches when the power goes; see `LmdbDisk.open`."""
    run: int = 0
    """Which run of the store on this folder this is: a random number; see `wal_records`."""
    wal_bytes: int = 0
    """How long each segment of the write-ahead log is; 0 for a disk without one."""
    lock: int = -1
    """The writer's descriptor of the lock file, which is its store's, too."""


class SaveBatch(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """One turn's changes, to be committed in one transaction with those before and after it."""

    number: int
    changes: list[Change]


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Commit the batches up to this number, which have been sent."""

    number: int


class Close(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Commit all that was sent, which is all that was acknowledged, and end: an orderly stop.

    A link that ends without it says nothing of the kind: what a store that is gone had still to
    send is in the write-ahead log alone.
    """


WriterOrder = SaveBatch | Commit | Close


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The child has the folder and is ready; whether there is a write-ahead log."""

    has_wal: bool


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The folder cannot be used; the child ends."""

    reason: str
    in_use: bool


class Committed(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The rows hold the batches up to this number, durably."""

    number: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A batch could not be saved; the child ends."""

    reason: str


WriterAnswer = Opened | Refused | Committed | Failed

StartJob = Job
"""What the store asks of a job process, one at a time; the answer is a `JobResult`."""

JobAnswer = JobResult
