"""A process may end at any moment. What it had written down is enough to go on, to the same end."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import anyio
import pytest

from perstack.errors import ModelError, sole
from perstack.job import Done, Json, fold, wanted
from perstack.models import Reply, Request
from perstack.testing import Crash, MemoryStore, ScriptedModel, calls, fails, says

from .helpers import play, start

SEEDS = range(12)


class World:
    """A model whose words depend only on where it is asked: nested and parallel delegates, files, todos."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.asked: Counter[tuple[str, int]] = Counter()

    def __call__(self, request: Request) -> Reply | ModelError:
        place = (request.path, request.step)
        self.asked[place] += 1
        dice = random.Random(f"{self.seed} {place} {request.concluding}")
        if request.concluding:
            return says(f"concluded {place}")
        if dice.random() < 0.15 and self.asked[place] == 1:
            return fails("Overloaded", retry_after_s=0)
        name = f"{request.path or 'root'}-{request.step}".replace("/", "_")
        choices: list[tuple[str, dict[str, Json]]] = [
            ("appendTextFile", {"path": "notes.txt", "text": f"{name}\n"}),
            ("readTextFile", {"path": "notes.txt"}),
            ("todo", {"newTodos": [name]}),
            ("nothing", {}),
        ]
        if request.path.count("/") < 2:
            choices += [("b", {"query": name})] * 2
        if request.step > 3 or dice.random() < 0.2:
            return says(f"answer of {place}")
        return calls(*(dice.choice(choices) for _ in range(dice.randint(1, 3))), text=name)


async def go(world: World, workspace: Path, store: MemoryStore) -> None:
    await play(start(workspace), ScriptedModel(world), store)


async def outcome(seed: int, workspace: Path) -> tuple[Done | None, int, str]:
    store = MemoryStore()
    (workspace / "notes.txt").write_text("")
    job = await play(start(workspace), ScriptedModel(World(seed)), store)
    return job.done, store.appends, (workspace / "notes.txt").read_text()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
def test_a_crash_at_every_append_leads_to_the_same_end(
    seed: int, written: bool, tmp_path: Path
) -> None:
    async def story() -> None:
        whole = tmp_path / "whole"
        whole.mkdir()
        done, appends, lines = await outcome(seed, whole)
        assert done is not None
        for place in range(1, appends + 1):
            here = tmp_path / str(place)
            here.mkdir()
            (here / "notes.txt").write_text("")
            store, world = MemoryStore(crash_at=place, written=written), World(seed)
            with pytest.raises(BaseException) as caught:  # noqa: PT011  # a Crash, alone or in groups
                await go(world, here, store)
            assert isinstance(sole(caught.value), Crash)
            await go(world, here, store)
            job = fold(await store.read("job"))
            assert job.done == done
            assert wanted(job) == ()
            wrote = (here / "notes.txt").read_text().splitlines()
            # Appending may not be repeated: done once, or in doubt and left alone, never twice.
            assert Counter(wrote) - Counter(lines.splitlines()) == Counter()

    anyio.run(story)
