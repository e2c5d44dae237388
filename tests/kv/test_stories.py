"""Every story of the state machine, on two replicas that must agree."""

from pathlib import Path

import pytest

from tests.kv.environment import World
from tests.stories import check_story

STORIES = sorted((Path(__file__).parent / "testdata").glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, rewrite: bool) -> None:
    check_story(path, World().run, rewrite)
