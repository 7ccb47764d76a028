"""Events of `perstack run` on stdin → one issue comment that grows while the Expert works.

Needs COMMENT_ID, GITHUB_REPO and GH_TOKEN in the environment, and the `gh` tool. With --print the comment goes
to stdout instead, once, at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

PAUSE_S = 3.0  # between two updates; the last one is never left out
SHOWN = 12  # steps that stay visible
MARKS = {"working": "⏳", "done": "✅", "failed": "❌"}


class Comment:
    """What has been heard so far, and how it reads."""

    def __init__(self) -> None:
        self.root = ""
        self.steps: list[str] = []
        self.answer = ""
        self.state = "working"

    def hear(self, event: dict[str, Any]) -> bool:
        """Take in one event. True if the comment reads differently now."""
        who = str(event.get("expertKey", ""))
        self.root = self.root or who
        match event.get("type"):
            case "callTools":
                self.steps += [_step(call) for call in event.get("toolCalls", [])]
            case "completeRun" if who == self.root:
                self.state, self.answer = "done", event.get("text") or "(no answer)"
            case "stopRunByError" if who == self.root:
                self.state, self.answer = "failed", f"It failed: {event['error']['message']}"
            case "stopRunByExceededMaxSteps" if who == self.root:
                self.state, self.answer = "failed", "It stopped at its limit of steps."
            case _:
                return False
        return True

    def ended(self) -> None:
        """No more events will come."""
        if self.state == "working":
            self.state, self.answer = (
                "failed",
                "It ended without an answer. See the log of the workflow.",
            )

    def text(self) -> str:
        head = f"{MARKS[self.state]} **{self.root or 'Expert'}**"
        left_out = len(self.steps) - SHOWN
        steps = [f"- … {left_out} more"] * (left_out > 0) + self.steps[-SHOWN:]
        if self.state == "working":
            return "\n".join([f"{head} is working", "", *steps]) + "\n"
        done = [
            f"<details><summary>{len(self.steps)} calls</summary>",
            "",
            *steps,
            "",
            "</details>",
        ]
        return "\n".join([head, "", self.answer, "", *(done if self.steps else [])]) + "\n"


def _step(call: dict[str, Any]) -> str:
    # Arguments may hold anything; only what names a file is shown in public
    path = str(call["args"].get("path", ""))
    return f"- `{call['toolName']}`" + (f" `{path}`" if path and "`" not in path else "")


def post(text: str) -> None:
    place = f"repos/{os.environ['GITHUB_REPO']}/issues/comments/{os.environ['COMMENT_ID']}"
    subprocess.run(
        ["gh", "api", "--silent", "--method", "PATCH", place, "--input", "-"],
        input=json.dumps({"body": text}),
        text=True,
        check=True,
    )


def follow(lines: Iterable[str], comment: Comment) -> None:
    """Post the comment as the events come in."""
    posted_at = float("-inf")
    for line in lines:
        if (
            line.strip()
            and comment.hear(json.loads(line))
            and time.monotonic() - posted_at >= PAUSE_S
        ):
            post(comment.text())
            posted_at = time.monotonic()
    comment.ended()
    post(comment.text())


def main() -> int:
    comment = Comment()
    if "--print" in sys.argv[1:]:
        for line in sys.stdin:
            comment.hear(json.loads(line))
        comment.ended()
        sys.stdout.write(comment.text())
    else:
        follow(sys.stdin, comment)
    return 0 if comment.state == "done" else 1


if __name__ == "__main__":
    sys.exit(main())
