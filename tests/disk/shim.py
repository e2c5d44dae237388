"""The library that makes a process's disk fail, built where there is a compiler."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_shim = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None,
    reason="needs Linux and gcc to build the shim that makes the disk fail",
)


def build(folder: Path) -> Path:
    """Compile it into `folder`."""
    source, library = Path(__file__).with_name("fault_shim.c"), folder / "fault_shim.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True
    )
    return library


@contextmanager
def armed(fault: Path, kind: str) -> Iterator[None]:
    """The shim makes the disk fail in there."""
    fault.write_text(kind)
    yield
    fault.unlink()
