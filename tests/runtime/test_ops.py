"""The operations port: what goes wrong beside it is told as it is."""

import pytest

from flaredb.playground.programs import free_port
from flaredb.runtime.ops import ops_routes, serve_ops

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Broken(Exception):
    """What a process dies of."""


@pytest.mark.parametrize("serves", [True, False])
async def test_what_ends_the_process_is_not_wrapped(serves: bool) -> None:
    address = f"127.0.0.1:{free_port()}" if serves else ""
    with pytest.raises(Broken, match="why"):
        async with serve_ops(address, ops_routes(lambda: "", dict, {})):
            raise Broken("why")
