"""What goes wrong only if several steps come in order, each at its moment.

Chance alone hardly ever meets such schedules within a minute, and an adversary would: so a world
may hold one that watches the stores and takes the next step when its moment has come. It knows
nothing of deliberate bugs, and whatever comes of it is for the checkers to say.
"""
