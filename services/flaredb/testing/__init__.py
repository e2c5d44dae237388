"""For the tests of those who use FlareDB: a whole cluster on this machine, harmed at will.

    from flaredb.testing import LocalCluster

    with LocalCluster(stores=3) as cluster, cluster.connect() as db:
        db.put(b"a", b"1")
        cluster.kill_store(2)
        assert db.get(b"a") == b"1"

Needs the extra `testing` (or `playground`): the stores, PD and nats-server are real.
"""

from flaredb.playground.process import ProcessFailed
from flaredb.playground.record import FolderInUse
from flaredb.playground.supervisor import LocalCluster

__all__ = ["FolderInUse", "LocalCluster", "ProcessFailed"]
