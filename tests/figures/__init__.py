"""Every figure that the project promises: measured by one command, kept with commit and machine.

    uv run python -m tests.figures              measure everything (about an hour)
    uv run python -m tests.figures --missing    only what was not measured at this commit
    uv run python -m tests.figures --only nats  one run
    uv run python -m tests.figures --page       write the page again from what was measured
    uv run python -m tests.figures --quick      minutes; prints the page and keeps nothing

What was found is kept in `docs/figures.json`; `docs/figures.md` is written from it. Text on that
page outside its markers is people's and stays.
"""
