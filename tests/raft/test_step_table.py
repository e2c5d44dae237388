"""The protocol's table: no cell is empty, and what is ignored says why."""

from typing import get_args

import pytest

from flaredb.raft import Role
from flaredb.raft.step import ANSWERS, FROM_LEADER, TABLE, WITHOUT_TERM, Ignored
from flaredb_schemas.raft import Message

KINDS = get_args(Message)


@pytest.mark.parametrize("role", Role, ids=lambda role: role.name)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_cell_acts_or_says_why_not(role: Role, kind: type[Message]) -> None:
    cell = TABLE[role][kind]
    assert callable(cell)
    if isinstance(cell, Ignored):
        assert len(cell.reason.split()) > 3, "a reason, not a word"
    else:
        assert cell.__doc__, "every move says what it means"


def test_the_table_has_no_other_cells() -> None:
    assert set(TABLE) == set(Role)
    for row in TABLE.values():
        assert set(row) == set(KINDS)


def test_every_message_is_acted_on_by_somebody() -> None:
    for kind in KINDS:
        assert any(not isinstance(row[kind], Ignored) for row in TABLE.values()), kind


def test_the_kinds_without_a_term_have_none() -> None:
    for kind in KINDS:
        assert (kind in WITHOUT_TERM) == ("term" not in kind.__struct_fields__), kind


def test_a_leader_of_the_term_takes_no_leader_of_the_term() -> None:
    assert all(isinstance(TABLE[Role.LEADER][kind], Ignored) for kind in FROM_LEADER)


def test_answers_are_told_from_requests() -> None:
    assert set(KINDS) > ANSWERS
    assert not ANSWERS & (FROM_LEADER | WITHOUT_TERM)


def test_tags_are_small_integers_that_never_change() -> None:
    assert [kind.__struct_config__.tag for kind in KINDS] == list(range(1, len(KINDS) + 1))
