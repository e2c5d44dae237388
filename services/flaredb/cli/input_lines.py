"""The lines of a file or a pipe; whoever waits for a silent pipe holds up nothing else.

What is under way goes on meanwhile: rows that came before are written and acknowledged, and an
interruption ends the waiting.
"""

import io
import os
import stat
from collections.abc import AsyncIterator
from typing import BinaryIO, Final

from anyio import wait_readable

CHUNK_BYTES: Final = 64 * 1024


async def input_lines(source: BinaryIO, most_bytes: int) -> AsyncIterator[bytes]:
    """Each line, with its end if it has one; of one longer than `most_bytes` only a part.

    Nothing follows on such a part. `source` must not have been read from before.
    """
    rest = b""
    while data := await _read(source):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line + b"\n"
            if len(line) >= most_bytes:
                return
        if len(rest) > most_bytes:
            break
    if rest:
        yield rest


async def _read(source: BinaryIO) -> bytes:
    """Some bytes; none at the end."""
    try:
        number = source.fileno()
    except io.UnsupportedOperation:
        return source.read(CHUNK_BYTES)  # it is in memory
    mode = os.fstat(number).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(number):
        await wait_readable(number)
    return os.read(number, CHUNK_BYTES)
