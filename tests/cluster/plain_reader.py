"""What somebody reads who has only nats-py: `python plain_reader.py URL`, one JSON object per line.

First every event about a region from the stream of events, then a heartbeat of each store from the
stream of heartbeats. Nothing of this project is imported.
"""

import asyncio
import json
import sys

import nats


async def read(url: str) -> None:
    """Read what the two streams hold."""
    connection = await nats.connect(url)
    streams = connection.jetstream()
    changes = await streams.subscribe("flaredb.evt.region.>", ordered_consumer=True)
    beats = await streams.subscribe("flaredb.hb.store.*", ordered_consumer=True)
    for subscription in (changes, beats):
        message = await subscription.next_msg(timeout=10)
        while True:
            line = json.dumps({"subject": message.subject, **json.loads(message.data)})
            sys.stdout.write(f"{line}\n")
            if message.metadata.num_pending == 0:
                break
            message = await subscription.next_msg(timeout=10)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(read(sys.argv[1]))
    assert not any(name.startswith("flaredb") for name in sys.modules)
