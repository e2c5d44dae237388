"""A child process's side of its link to the store: frames on standard input, and a shared fate.

A child of the disk must never outlive its store: it ends at the end of its input, and the kernel
kills it when the store dies (Linux only; elsewhere the end of input alone has to do). It must not
end before its store either: a polite request to stop, which a supervisor may send to every process
of a service, is the store's to answer.
"""

import ctypes
import os
import signal
import socket
import sys
from typing import Final, TypeVar

import msgspec

from flaredb.disk.child_messages import FRAME_HEAD

_PR_SET_PDEATHSIG: Final = 1
_encoder: Final = msgspec.msgpack.Encoder()
Message = TypeVar("Message")


class ParentLink:
    """The socket that the store handed to this process as its standard input."""

    def __init__(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _die_with_parent()
        # Through a second descriptor, so that the store sees the link end when the process does,
        # and not while the interpreter is still tidying up.
        self._socket: Final = socket.socket(fileno=os.dup(0))

    def receive(self, decoder: "msgspec.msgpack.Decoder[Message]") -> Message | None:
        """The next message, or None when the store has closed the link, or is gone."""
        head = self._exactly(FRAME_HEAD.size)
        if head is None:
            return None
        body = self._exactly(FRAME_HEAD.unpack(head)[0])
        return None if body is None else decoder.decode(body)

    def send(self, message: msgspec.Struct) -> None:
        """Answer. Raises `OSError` if the store is gone."""
        body = _encoder.encode(message)
        self._socket.sendall(FRAME_HEAD.pack(len(body)) + body)

    def _exactly(self, size: int) -> bytes | None:
        data = self._socket.recv(size, socket.MSG_WAITALL)
        if len(data) == size:
            return data
        parts = bytearray(data)
        while data and len(parts) < size:
            data = self._socket.recv(size - len(parts), socket.MSG_WAITALL)
            parts += data
        return bytes(parts) if len(parts) == size else None


def _die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends.

    If the store died before this call, the end of input says so.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0, "prctl refuses a plain signal"
