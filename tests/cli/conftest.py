"""One small cluster for all commands that need one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flaredb.testing import LocalCluster


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    folder: Path = tmp_path_factory.mktemp("cluster")
    with LocalCluster(folder, stores=3) as running:
        yield running
