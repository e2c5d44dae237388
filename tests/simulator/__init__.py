"""A whole cluster in one thread and virtual time, around the production turn of store and PD.

The seed draws the world: how many stores and regions, how the network and the disks behave, what
breaks and when. The same seed gives the same bytes. First everything may break, and safety must
hold; then everything is healed, and progress is required.
"""
