"""Writes twenty batches into the warehouse in the folder given, and dies by SIGKILL."""

import os
import signal
import sys
from pathlib import Path

from flaredb_analytics.warehouse import Warehouse
from tests.analytics.facts import EVENTS, MEMORY, elected, of_event, store_records

if __name__ == "__main__":
    warehouse = Warehouse(Path(sys.argv[1]), MEMORY)
    for number in range(1, 21):
        store_records(warehouse, EVENTS, of_event(number, elected(region=number)))
    os.kill(os.getpid(), signal.SIGKILL)
