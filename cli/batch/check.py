"""`ebca batch --check`: what a file of jobs comes to, told without loading a model."""

from __future__ import annotations

from collections import Counter

from lib_ebca.studio.locate import path_of

from ..terminal import say, say_json
from .estimate import evaluations, in_words, tasks
from .items import Asked, Item
from .manifest import History, Manifest
from .packing import packed
from .session import Options
from .store import Store


def report(asked: Asked, options: Options, measure: bool, as_json: bool) -> None:
    """Prints how many pictures there are, how often the UNet runs for them, and how long that takes, if known."""
    history = _history(options.out)
    todo = [item for item in asked.items if item.key not in history.made]
    seconds, how = _measured(todo, options) if measure else _remembered(todo, history)
    counted = tasks(asked.items)
    models = sorted({item.settings.model for item in asked.items})
    batches = len(packed(todo, options.batch_size)) if todo else 0
    total = sum(map(evaluations, todo))
    if as_json:
        facts = {
            "pictures": len(asked.items),
            "doubles": asked.doubles,
            "to_make": len(todo),
            "tasks": counted,
            "models": models,
            "batches": batches,
            "evaluations": total,
            "seconds": None if seconds is None else round(seconds, 1),
            "first_name": asked.items[0].name,
        }
        say_json(facts)
        return
    doubles = f" ({asked.doubles} asked for twice, made once)" if asked.doubles else ""
    say(f"Pictures:     {len(asked.items)}: {', '.join(f'{n} {task}' for task, n in counted.items())}{doubles}")
    say(f"To make:      {len(todo)}, in {batches} batches or a few more")
    say(f"Models:       {', '.join(models)}")
    say(f"Evaluations:  {total} of the UNet, counting each picture")
    say(f"Time:         {'not known: --measure finds out' if seconds is None else in_words(seconds)}{how}")
    say(f"First name:   {asked.items[0].name}")


def listing(asked: Asked, as_json: bool) -> None:
    """Prints a line for each picture: its name, and with `as_json` all that makes it."""
    for item in asked.items:
        if not as_json:
            say(item.name)
            continue
        settings, plan = item.settings, item.wanted.plan
        facts = {
            "key": item.key,
            "name": item.name,
            "job": item.label,
            "task": item.job.task,
            "prompt": item.wanted.prompt,
            "negative": settings.negative,
            "seed": item.seed,
            "model": settings.model,
            "steps": settings.steps,
            "cfg": settings.guidance,
            "sampler": settings.sampler,
            "bcu": item.job.bcu,
            "edit": item.job.edit,
            "boost": item.job.boost,
            "concept": item.job.concept,
            "excite": item.job.excite,
            "plan": plan.to_dict(),
            "axes": dict(item.axes),
        }
        say_json(facts)


def _history(out: str) -> History:
    if "://" not in out and not path_of(out).is_dir():
        return History(None, {}, {})
    return Manifest(Store(out)).read()


def _remembered(todo: list[Item], history: History) -> tuple[float | None, str]:
    """At the rate of the pictures that the folder holds, if there are any of every model."""
    seconds: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for line in history.made.values():
        seconds[line["model"]] += line["seconds"]
        counted[line["model"]] += line["evaluations"]
    if not todo or any(not counted[item.settings.model] for item in todo):
        return None, ""
    total = sum(evaluations(item) * seconds[item.settings.model] / counted[item.settings.model] for item in todo)
    return total, f", at the rate of the {len(history.made)} pictures made before"


def _measured(todo: list[Item], options: Options) -> tuple[float | None, str]:
    from .measure import seconds_for

    return seconds_for(todo, options.batch_size, options.device, options.allow_pickle), ", after a short measurement"
