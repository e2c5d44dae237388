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


class SaveBatch(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """One turn's changes, to be committed in one transaction."""

    number: int
    changes: list[Change]


class Opened(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The child has the folder and is ready."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The folder cannot be used; the child ends."""

    reason: str
    in_use: bool


class Saved(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The batch of this number is durable."""

    number: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A batch could not be saved; the child ends."""

    reason: str


WriterAnswer = Opened | Refused | Saved | Failed

StartJob = Job
"""What the store asks of a job process, one at a time; the answer is a `JobResult`."""

JobAnswer = JobResult
