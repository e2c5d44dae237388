"""One process of the project by itself: what it says and how it ends."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from flaredb.playground.supervisor import LocalCluster

PATIENCE: Final = 40.0


class Ended(Struct, frozen=True):
    """How a process ended, and all that it said."""

    code: int
    said: str


def run_alone(module: str, *arguments: str, settings: Mapping[str, str]) -> Ended:
    """Run a module until it ends by itself, which it must do in time."""
    environment = {**os.environ, **{f"FLAREDB_{name}".upper(): settings[name] for name in settings}}
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        text=True,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout)


def run_store(cluster: LocalCluster, folder: Path, **settings: str) -> Ended:
    """Run a store of a cluster on a folder that it should not have."""
    given = {"nats_url": cluster.url, "data": str(folder), "lock_wait_seconds": "0.5", **settings}
    return run_alone("flaredb.store", settings=given)
