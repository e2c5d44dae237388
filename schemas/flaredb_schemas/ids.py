"""The names of things: every kind of number that identifies something is a type of its own.

A `RegionId` handed where a `StoreId` is meant is an error of the type checker, not of the night.
All identifiers are positive; zero means "none" where a record says so.
"""

from typing import Final, NewType

RegionId = NewType("RegionId", int)
"""One key range and its Raft group. Granted by PD, never used twice."""

StoreId = NewType("StoreId", int)
"""One store process and its data folder. Granted by PD; a lost disk means a new id."""

PeerId = NewType("PeerId", int)
"""One replica of one region on one store: a Raft node id. Granted by PD, never used twice."""

OperatorId = NewType("OperatorId", int)
"""What PD has undertaken to do to a region's replicas. Granted by PD, never used twice."""

Term = NewType("Term", int)
"""A Raft term."""

Index = NewType("Index", int)
"""A position in a Raft log. Zero stands before the first entry."""

ClusterId = NewType("ClusterId", str)
"""A cluster: 32 hexadecimal digits, drawn once at bootstrap."""

StoreUuid = NewType("StoreUuid", str)
"""A data folder: 32 hexadecimal digits, drawn once when it is made."""

BootCounter = NewType("BootCounter", int)
"""How often a data folder has been started; rises at each start."""

Generation = NewType("Generation", int)
"""How far the saved state of a data folder has got; rises as things are saved, never falls."""

PdEpoch = NewType("PdEpoch", int)
"""The reign of one leading PD. Stores refuse orders of a lower one."""

PdIncarnation = NewType("PdIncarnation", str)
"""The start of a PD process that opened a reign, drawn by chance: 32 hexadecimal digits.

No process opens two reigns of one epoch. Where a lost journal lets two PDs open the same one, it
tells them apart; empty means that it is not known."""

JournalSequence = NewType("JournalSequence", int)
"""A position in PD's journal stream."""

NO_PEER: Final = PeerId(0)
NO_STORE: Final = StoreId(0)
NO_UUID: Final = StoreUuid("")
NO_REGION: Final = RegionId(0)
