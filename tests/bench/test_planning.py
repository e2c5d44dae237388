"""What the figure of PD's looks measures is what it says: in each of them something is found."""

from flaredb_pd.operator_facts import StartOperator
from tests.bench.planned_cluster import Size
from tests.bench.planning import Desk, parts


def policies(desk: Desk) -> set[str]:
    plans = [one.plan for one in desk.commands if isinstance(one, StartOperator)]
    return {plan.decision.policy for plan in plans}


def test_each_part_looks_at_what_it_is_named_after() -> None:
    found: dict[str, set[str]] = {}
    for name, look, desk in parts(Size(stores=20, regions=2_000)):
        look(desk)
        found[name] = policies(desk)
        if name == "operators_s":
            assert len(desk.orders) == len(desk.state.operators.running)
    assert found == {
        "repairs_s": set(),
        "drain_s": {"drain-leaders"},
        "balance_s": {"balance-replicas"},
        "load_s": {"balance-load", "balance-leaders"},
        "merges_s": set(),
        "operators_s": set(),
        "lost_store_s": {"repair-lost"},
    }
