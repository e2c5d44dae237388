"""Ctrl-C strikes whatever runs just then; the command alone tells of it."""

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from flaredb.cli.output import Format
from flaredb.cli.session import Reach, Session, run_session
from flaredb.client.errors import InvalidArgumentError


async def _struck(error: BaseException) -> None:
    raise error


def _command(error: BaseException) -> Any:
    """A command beside which a task ends so, for whose end nobody waits."""

    async def command(session: Session) -> None:
        beside = asyncio.create_task(_struck(error))
        await asyncio.sleep(0 if isinstance(error, Exception) else 60)
        del beside

    return command


def _run(error: BaseException) -> None:
    run_session(_command(error), Session(Reach(None, None, None), Format.TABLE), {})


def test_an_interrupted_task_is_not_told_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(KeyboardInterrupt())
    gc.collect()
    assert not caplog.records


def test_a_task_that_failed_is_told(caplog: pytest.LogCaptureFixture) -> None:
    _run(ValueError("nobody waits"))
    gc.collect()
    assert "nobody waits" in caplog.text


def test_two_names_of_a_cluster_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="--dir and --nats"):
        Reach(tmp_path, "nats://127.0.0.1:1", None)
