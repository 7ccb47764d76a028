"""Events of `perstack run` on stdin → readable progress on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any


def lines(events: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What to say about each event; most say nothing."""
    root = ""
    for event in events:
        who = str(event.get("expertKey", ""))
        root = root or who
        match event.get("type"):
            case "callTools":
                for call in event.get("toolCalls", []):
                    given = ", ".join(
                        f"{key}={_short(value)}" for key, value in call["args"].items()
                    )
                    yield f"[{who}] {call['toolName']}({given})"
            case "completeRun" if who == root:
                yield "\n" + (event.get("text") or "(no answer)")
            case "completeRun":
                yield f"[{who}] done"
            case "stopRunByError":
                yield f"[{who}] failed: {event['error']['message']}"
            case "stopRunByExceededMaxSteps":
                yield f"[{who}] stopped: the limit of steps is reached"
            case _:
                pass


def _short(value: object, most: int = 60) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def main() -> None:
    for line in lines(json.loads(line) for line in sys.stdin if line.strip()):
        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
