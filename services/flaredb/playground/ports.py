"""Ports of this machine for the processes of a playground."""

import random
from typing import Final

from flaredb.runtime.listening import CannotListen, listen

LOCALHOST: Final = "127.0.0.1"

_CHOICE: Final = range(20_000, 30_000)
"""Below those that Linux, macOS and Windows give to outgoing connections: one of these, of whatever
program, could have taken the port before a process listens, or while it is down."""


def why_taken(address: str) -> str:
    """Why nobody can begin to listen at `host:port` now, in the system's words; "" if one can."""
    try:
        for opened in listen(address):
            opened.close()
    except CannotListen as fault:
        return fault.reason
    return ""


def is_free(address: str) -> bool:
    """Whether somebody could listen at `host:port` now."""
    return not why_taken(address)


def free_port() -> int:
    """A TCP port of this machine that nobody listens on at this moment."""
    while not is_free(f"{LOCALHOST}:{(port := random.choice(_CHOICE))}"):
        pass
    return port


class Ports:
    """Ports that one supervisor gives to its processes: no two have the same one."""

    def __init__(self) -> None:
        self._given: Final[set[int]] = set()

    def claim(self, port: int = 0) -> int:
        """This port; where it is 0, or was given before, a free one in its place."""
        while not port or port in self._given:
            port = free_port()
        self._given.add(port)
        return port

    def address(self, wanted: str) -> str:
        """`host:port`, as `claim` gives the port."""
        host, _, port = wanted.rpartition(":")
        return f"{host}:{self.claim(int(port))}"

    def another(self, before: str) -> str:
        """A free address in place of the one of before, which is given back; that may be empty."""
        chosen = self.address(f"{LOCALHOST}:0")
        self._given.discard(int(before.rpartition(":")[2] or 0))
        return chosen
