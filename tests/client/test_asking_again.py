"""Questions to PD whose answers are lost: what only reads is asked again, what changes is not."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from flaredb.bus.bus import Message
from flaredb.client import pd_line
from flaredb.client.errors import FlareDBError, UnavailableError, UndeterminedError
from flaredb.client.placement import PlacementReader
from flaredb_schemas.ids import RegionId, StoreId
from flaredb_schemas.pd_answers import StoresAnswer
from flaredb_schemas.subjects import Subjects
from tests.bus.worlds import MemoryWorld, NatsWorld, World

both = pytest.mark.parametrize("kind", ["memory", "nats"])

SUBJECTS = Subjects()


def story_of(kind: str, folder: Path, deaf_for: int) -> tuple[list[str], list[BaseException]]:
    """Ask for stores, then for a move, of a PD that is deaf for so many questions: what it was
    asked, and what was raised."""
    asked: list[str] = []
    raised: list[BaseException] = []

    async def story() -> None:
        world: World = MemoryWorld() if kind == "memory" else NatsWorld(folder)
        await world.open()
        pd, client = await world.connect("pd"), await world.connect("client")

        def answer(message: Message) -> None:
            asked.append(message.subject.rpartition(".")[2])
            if len(asked) > deaf_for:
                pd.send(message.reply, msgspec.json.encode(StoresAnswer(())))

        await pd.subscribe(f"{SUBJECTS.prefix}.pd.>", answer)
        reader = PlacementReader(client, SUBJECTS, timeout=0.7)
        for question in (reader.stores(), reader.move(RegionId(1), StoreId(1), StoreId(2))):
            try:
                await question
            except FlareDBError as error:
                raised.append(error)
        await world.close()

    asyncio.run(story())
    return asked, raised


@both
def test_a_read_is_asked_again(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd_line, "FIRST_PATIENCE", 0.1)
    asked, raised = story_of(kind, tmp_path, deaf_for=2)
    assert asked[:3] == ["stores"] * 3
    assert not any(isinstance(error, UnavailableError) for error in raised)


@both
def test_a_read_ends_with_its_budget_and_a_wish_is_made_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pd_line, "FIRST_PATIENCE", 0.1)
    asked, raised = story_of(kind, tmp_path, deaf_for=1_000)
    assert len(asked) > 3 and asked == ["stores"] * (len(asked) - 1) + ["move"]
    assert [type(error) for error in raised] == [UnavailableError, UndeterminedError]
