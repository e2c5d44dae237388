"""What a PD counts, for the operations port; names as Prometheus has them, without the prefix."""

from collections.abc import Mapping
from typing import Final, get_args

from flaredb_pd.core import PdCore
from flaredb_pd.state import State
from flaredb_schemas.operators import OperatorOutcome

OUTCOMES: Final[tuple[OperatorOutcome, ...]] = get_args(OperatorOutcome)

_OF_THE_STATUS: Final = {
    "pd_epoch": "pd_epoch",
    "pd_journal_sequence": "sequence",
    "pd_ready": "ready",
    "pd_stores": "stores",
    "pd_regions": "regions",
    "pd_regions_led": "leaders",
    "pd_stale_reports": "stale_reports",
    "pd_highest_id": "highest_id",
}


def figures(core: PdCore) -> Mapping[str, float]:
    """Only the leading PD knows the cluster; any PD says whether it leads."""
    status = core.status
    if status is None:
        return {"pd_leads": 0.0}
    known = {name: float(getattr(status, field)) for name, field in _OF_THE_STATUS.items()}
    return {"pd_leads": 1.0, **known, **_of_the_state(core.state)}


def _of_the_state(state: State) -> dict[str, float]:
    """Operators that run, and how all of the journal's ended; stores that are being emptied."""
    operators = state.operators
    counts = {
        f"pd_operators_{outcome}_total": operators.outcomes.get(outcome, 0) for outcome in OUTCOMES
    }
    draining = sum(one.drain is not None for one in state.stores.values())
    told = {"pd_operators_running": len(operators.running), "pd_stores_draining": draining}
    return {name: float(value) for name, value in (told | counts).items()}
