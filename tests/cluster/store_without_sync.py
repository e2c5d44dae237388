"""`python -m tests.cluster.store_without_sync`: a store that acknowledges what it has not synced.

It exists so that the test of power cuts can show that it would notice.
"""

import sys
from functools import partial

from flaredb.disk.lmdb_disk import LmdbDisk
from flaredb.store.__main__ import main

if __name__ == "__main__":
    unsynced = partial(LmdbDisk.open, dangerously_without_sync=True)
    LmdbDisk.open = unsynced  # type: ignore[method-assign]
    sys.exit(main())
