"""Raft's stories: what a group does, step by step, as text."""

from pathlib import Path

import pytest

from tests.raft.environment import Environment
from tests.stories import StoryError, check_story, parse_command

STORIES = sorted((Path(__file__).parent / "testdata").glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, rewrite: bool) -> None:
    check_story(path, Environment().run, rewrite)


def test_an_unknown_command_is_named(tmp_path: Path) -> None:
    story = tmp_path / "story.txt"
    story.write_text("explode 1\n----\nok\n")
    with pytest.raises(StoryError, match="explode"):
        check_story(story, Environment().run)


def test_rewriting_keeps_everything_but_outputs(tmp_path: Path) -> None:
    story = tmp_path / "story.txt"
    story.write_text("# First.\none a=(1,2)\ninput\n----\nwrong\n\n# Then.\ntwo\n----\nwrong\n")
    outputs = {"one": "right", "two": "with\n\na blank line"}
    check_story(story, lambda case: outputs[case.command], rewrite=True)
    check_story(story, lambda case: outputs[case.command])
    assert story.read_text() == (
        "# First.\none a=(1,2)\ninput\n----\nright\n\n"
        "# Then.\ntwo\n----\n----\nwith\n\na blank line\n----\n----\n"
    )


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoryError, match="cannot read"):
        parse_command("one =2", 1)
    story = tmp_path / "story.txt"
    story.write_text("one\nwithout an end\n")
    with pytest.raises(StoryError, match="no ----"):
        check_story(story, lambda case: "")
