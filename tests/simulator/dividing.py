"""What a call becomes whose region was split meanwhile: each part goes where its keys are now.

As the client library does it: ops keep lane, sequence and numbers, a range deletion is narrowed to
the region that it goes to, and a group that no region holds whole asks by itself what became of it.
"""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from flaredb_schemas.commands import DeleteRange, Group
from flaredb_schemas.keys import smaller_end
from flaredb_schemas.regions import Region
from tests.simulator.calls import Step
from tests.simulator.tasks import Task


def fit(task: Task, region: Region, lose: Callable[[Task, Step], None]) -> list[Task]:
    """Have `task` ask for what `region` holds; returns what goes to other regions.

    `lose` is told of what is not asked for any more. What a task is about first is in the region.
    """
    keys = region.keys
    if task.page is not None:
        task.asked = replace(task.page, end=smaller_end(task.page.end, keys.end))
        return []
    if task.gets:
        task.gets = tuple(key for key in task.gets if keys.contains(key))
        return []
    mine, others = [], []
    for step in task.steps:
        if not keys.contains(step.first_key):
            others.append(step)
        elif isinstance(step.op, DeleteRange):
            mine.append(_narrowed(task, step, region, lose))
        else:
            mine.append(step)
    if len(mine) > 1:
        broken = [step for step in mine if is_broken([step], region)]
        mine = [step for step in mine if step not in broken]
        others += broken if mine else broken[1:]
        mine = mine or broken[:1]
    task.steps = tuple(mine)
    return [_part(task, step) for step in others]


def is_broken(steps: Iterable[Step], region: Region) -> bool:
    """Whether there is a group that the region does not hold whole."""
    keys = [key for step in steps if isinstance(step.op, Group) for key, _ in step.effects]
    return not all(map(region.keys.contains, keys))


def _narrowed(task: Task, step: Step, region: Region, lose: Callable[[Task, Step], None]) -> Step:
    assert isinstance(step.op, DeleteRange)
    end = smaller_end(step.op.end, region.keys.end)
    if end == step.op.end:
        return step
    beyond = tuple(effect for effect in step.effects if effect[0] >= end)
    lose(task, Step(step.op, beyond))
    kept = tuple(effect for effect in step.effects if effect[0] < end)
    return Step(replace(step.op, end=end), kept)


def _part(task: Task, step: Step) -> Task:
    """One op of the batch on its way by itself, under the numbers that it has."""
    if task.session is not None:
        task.session.divide(task.sequence)
    return Task(
        task.began,
        task.deadline,
        steps=(step,),
        session=task.session,
        sequence=task.sequence,
        attempts=task.attempts,
        uncertain=task.uncertain,
    )
