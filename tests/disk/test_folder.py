"""The data folder: as durable as its name, and all the names above it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flaredb.disk.folder import SNAPSHOTS, prepare_folder


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What has been made durable, in order."""
    paths: list[Path] = []
    sync: Callable[[int], None] = os.fsync

    def noted(descriptor: int) -> None:
        paths.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


def test_every_name_that_is_made_is_durable(tmp_path: Path, synced: list[Path]) -> None:
    """A power cut that takes a folder above the rows takes the rows."""
    data = tmp_path / "not" / "there" / "data"
    prepare_folder(data)
    made = [tmp_path / "not", tmp_path / "not" / "there", data, data / SNAPSHOTS]
    assert synced == [path.parent for path in made]
    assert all(path.is_dir() for path in made)
    assert {path.stat().st_mode & 0o777 for path in (data, data / SNAPSHOTS)} == {0o700}
    prepare_folder(data)
    assert synced == [path.parent for path in made]


def test_a_relative_name_will_do(
    tmp_path: Path, synced: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare_folder(Path("a/b"))
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
