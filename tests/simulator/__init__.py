"""A whole cluster in one thread and virtual time, around the production turn of store and PD.

The seed draws the world: how many stores and regions, how the network and the disks behave, what
breaks and when. The same seed gives the same bytes. First everything may break, and safety must
hold; then everything is healed, and progress is required. Beside the cluster each seed shakes a
Raft group alone (`tests/raft/chaos.py`), which changes its members, too.

    uv run python -m tests.simulator 7                  replay one seed, with its trace
    uv run python -m tests.simulator --seeds 1..1000    a range; --seconds S bounds the time
    uv run python -m tests.simulator --bugs             every deliberate bug must be found by
                                                        the clusters of 500 seeds
    uv run python -m tests.simulator --seeds 1..500 --bug vote-twice

What of store and Raft it runs (the settings stand in pyproject.toml):

    uv run coverage run -m tests.simulator --seeds 1..30
    uv run coverage report -m --include '*/store/*'
    uv run coverage report -m --include '*/raft/*'

A seed that fails is a possible loss of data until its cause is known. Whoever changes the world
keeps it finding the deliberate bugs.
"""
