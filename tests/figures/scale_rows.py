"""The page's lines of very many regions, and of very much work in one of them."""

from typing import Final

from tests.figures.rows import Row, at_most

SCALE: Final = (
    *(
        Row(
            f"a 96 MiB region emptied by delete_range, values of {kib} KiB",
            "no stall of another region over 200 ms",
            "stalls",
            at_most(
                f"96 MiB deleted, values of {kib} KiB",
                {"longest_probe_ms": (200.0, "ms the longest probe"), "seconds": (60.0, "s")},
            ),
        )
        for kib in (4, 64)
    ),
    Row(
        "a store that lacks 50,000 entries catches up",
        "no snapshot; no stall of another region over 200 ms",
        "stalls",
        at_most(
            "entries caught up",
            {
                "snapshots": (0.0, "snapshots"),
                "longest_probe_ms": (200.0, "ms the longest probe"),
                "seconds": (60.0, "s"),
            },
        ),
    ),
    Row(
        "10,000 regions on each of three stores: one started, or all of them, or PD",
        "serves ≤ 30 s",
        "very_many_regions",
        at_most(
            "10000 regions opened",
            {
                "one_s": (30.0, "s for one"),
                "all_s": (30.0, "s for all"),
                "pd_s": (30.0, "s for PD"),
            },
        ),
    ),
    Row(
        "10,000 regions led again: all stores started; a store killed",
        "≤ 60 s",
        "very_many_regions",
        at_most("10000 regions opened", {"led_s": (60.0, "s"), "led_again_s": (60.0, "s")}),
    ),
    Row(
        "10,000 idle regions on each of three stores",
        "≤ 20 % of a core",
        "very_many_regions",
        at_most(
            "10000 idle regions",
            {"cpu_percent": (20.0, "% of a core"), "mib": (1_000.0, "MiB per store")},
        ),
    ),
    Row(
        "a key's region among 10,000",
        "≤ 10 µs",
        "very_many_regions",
        at_most(
            "route look-up among 10000",
            {
                "client_us": (10.0, "µs in a client"),
                "store_us": (10.0, "µs in a store"),
                "pd_us": (10.0, "µs in PD"),
            },
        ),
    ),
    Row(
        "`flaredb status` and `flaredb region list` with 10,000 regions",
        "≤ 5 s",
        "very_many_regions",
        at_most("questions about 10000 regions", {"status_s": (5.0, "s"), "list_s": (5.0, "s")}),
    ),
)
