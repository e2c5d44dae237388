"""compose.yaml as a user starts it: every container becomes healthy, a client reads what it wrote,
SQL knows the stores, and a killed one is not missed.

Skipped, with the reason, where no engine answers or a base image can be neither found nor pulled.
"""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

import pytest
from testcontainers.compose import DockerCompose

import flaredb

ROOT: Final = Path(__file__).resolve().parent.parent.parent
BASE_IMAGES: Final = re.compile(r"\$\{(FLAREDB_(?:BASE|NATS)_IMAGE):-([^}]+)\}")
STORES: Final = "select store from store_load order by store"
COMMAND_SECONDS: Final = 30
PULL_SECONDS: Final = 180
WAIT_SECONDS: Final = 120

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]


class Compose(DockerCompose):
    """testcontainers knows `docker compose`; Compose 1.29 is a command of its own."""

    @cached_property
    def compose_command_property(self) -> list[str]:
        return compose_command()

    def say(self, *arguments: str) -> str:
        """What one compose command answers."""
        return output_of(*self.docker_compose_command(), *arguments)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Ask until it holds; at the deadline fail with what the containers said."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline, self.say("logs", "--tail", "30")
            time.sleep(0.5)

    def states(self) -> set[str]:
        """The states of health among the containers."""
        containers = self.say("ps", "--quiet").split()
        show = "{{.State.Health.Status}}"
        return set(output_of("docker", "inspect", "--format", show, *containers).split())


def output_of(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def works(*command: str, seconds: float = COMMAND_SECONDS) -> bool:
    """Whether a command exists and ends well in time."""
    if shutil.which(command[0]) is None:
        return False
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def compose_command() -> list[str]:
    if works("docker", "compose", "version"):
        return ["docker", "compose"]
    if works("docker-compose", "version"):
        return ["docker-compose"]
    pytest.skip("neither `docker compose` nor `docker-compose` is here")


def require_base_images() -> None:
    for variable, default in BASE_IMAGES.findall((ROOT / "compose.yaml").read_text()):
        image = os.environ.get(variable, default)
        found = works("docker", "image", "inspect", image)
        if not found and not works("docker", "pull", "--quiet", image, seconds=PULL_SECONDS):
            pytest.skip(f"{image} can be neither found nor pulled; .ci/base-images makes another")


@pytest.fixture
def compose(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compose]:
    """The containers of compose.yaml, healthy, on ports that are free; gone afterwards."""
    if not works("docker", "version"):
        pytest.skip("no container engine answers")
    require_base_images()
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", f"flaredb-test-{os.getpid()}")
    monkeypatch.setenv("FLAREDB_IMAGE", "flaredb:test")
    monkeypatch.setenv("FLAREDB_PORT", "0")
    monkeypatch.setenv("FLAREDB_NATS_PORT", "0")
    with Compose(ROOT, build=True, wait=False) as compose:
        compose.wait_until(lambda: compose.states() == {"healthy"})
        yield compose


def rows_of(analytics: str, query: str) -> list[list[object]]:
    """What analytics answers to SQL."""
    body = json.dumps({"query": query}).encode()
    question = Request(f"http://{analytics}/v1/sql", body, {"Content-Type": "application/json"})
    with urlopen(question, timeout=10) as answer:
        rows: list[list[object]] = json.load(answer)["rows"]
    return rows


def test_a_cluster_in_containers(compose: Compose) -> None:
    rows = [(b"fruit:%03d" % number, b"%d" % number) for number in range(100)]
    nats, analytics = compose.say("port", "nats", "4222"), compose.say("port", "analytics", "7480")
    with flaredb.connect(f"nats://{nats}", timeout=30) as database:
        for key, value in rows:
            database.put(key, value)
        assert list(database.scan(prefix=b"fruit:")) == rows
        compose.wait_until(lambda: rows_of(analytics, STORES) == [[1], [2], [3]])

        compose.say("kill", "store1")
        database.put(b"fruit:100", b"written without the first store")
        assert database.get(b"fruit:000") == b"0"
        assert database.get(b"fruit:100") == b"written without the first store"
