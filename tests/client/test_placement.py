"""What becomes of PD's refusals."""

import msgspec
import pytest

from flaredb.bus.bus import Message
from flaredb.client.errors import FlareDBError, UnavailableError, UndeterminedError
from flaredb.client.placement import PlacementReader
from flaredb.runtime.clock import SystemClock
from flaredb_schemas.ids import RegionId
from flaredb_schemas.pd_answers import PdFailure
from flaredb_schemas.splits import IN_DOUBT
from flaredb_schemas.subjects import Subjects
from tests.client.fake_cluster import LiveHub

pytestmark = pytest.mark.anyio

SUBJECTS = Subjects()


@pytest.mark.parametrize("what", ["split", "merge"])
@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("this store does not lead region 4", UnavailableError),
        (f"this store does not lead region 4; {IN_DOUBT}", UndeterminedError),
    ],
)
async def test_what_is_in_doubt_is_no_refusal(
    what: str, message: str, kind: type[FlareDBError]
) -> None:
    hub = LiveHub(SystemClock())
    pd, client = hub.connect("pd"), hub.connect("client")
    answer = msgspec.json.encode(PdFailure("refused", message, "look"))

    def refuse(asked: Message) -> None:
        pd.send(asked.reply, answer)

    await pd.subscribe(SUBJECTS.pd_admin(what), refuse)
    placement = PlacementReader(client, SUBJECTS, timeout=5.0)
    with pytest.raises(kind, match="does not lead") as caught:
        if what == "split":
            await placement.split(RegionId(4))
        else:
            await placement.merge(RegionId(4))
    assert caught.value.hint == "look"
