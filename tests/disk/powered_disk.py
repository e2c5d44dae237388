"""A file system of its own in a file, which can lose its power.

It is shut down without writing its journal or its cache: what was not synced is gone, as on a
machine without power. Needs root, ext4 and loop devices.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_EXT4_IOC_SHUTDOWN: Final = 0x8004587D
_WITHOUT_LOG_FLUSH: Final = 2
_BUSY_SECONDS: Final = 10.0


class PoweredDisk:
    """A file system that is mounted at `folder` while it has power."""

    def __init__(self, image: Path, folder: Path, size: int = 64 << 20) -> None:
        self._image: Final = image
        self.folder: Final = folder
        self.folder.mkdir(parents=True)
        with self._image.open("wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", str(self._image)], check=True)

    def mount(self) -> bool:
        """Power on; False if this machine does not let us."""
        command = ["mount", "-o", "loop", str(self._image), str(self.folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def cut(self) -> None:
        """From now on nothing reaches the disk, and everything there fails."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            how = struct.pack("I", _WITHOUT_LOG_FLUSH)
            fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, how)
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """Take it out; who still has it open is waited for."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            done = subprocess.run(["umount", str(self.folder)], capture_output=True, check=False)
            if done.returncode == 0:
                return
            assert time.monotonic() < deadline, done.stderr.decode()
            time.sleep(0.05)

    def power_on(self, data: Path) -> None:
        """Power on again, in what the store on `data` takes for another run of the machine."""
        self.unmount()
        assert self.mount()
        (data / "in-use").write_text("another run")


@contextmanager
def mounted(image: Path, folder: Path, size: int) -> Iterator[PoweredDisk]:
    """A file system of `size` bytes at `folder`; the test is skipped where none can be made."""
    skip_without_rights()
    disk = PoweredDisk(image, folder, size)
    if not disk.mount():
        pytest.skip("needs the right to mount a file")
    try:
        yield disk
    finally:
        disk.unmount()


def skip_without_rights() -> None:
    """Skip the test where no file system can be made."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4")
