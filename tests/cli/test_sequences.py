"""What programs that know the reference expect of `run`: which events, in which order, for which kind of run."""

from __future__ import annotations

from pathlib import Path

from tests.behaviour.register import proves
from tests.fakes.modelserver import Calls, ModelServer, Says, Seen, Turn

from .conftest import Here
from .program import asking, expert, keys


def types(ran_events: list[dict[str, object]], *of: str) -> list[str]:
    return [f"{e['type']}:{e['expertKey']}" for e in ran_events if e["type"] in of]


@proves("stream.delegate-chain")
def test_a_chain_of_three(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(
        expert("chain", more='delegates = ["level1"]')
        + expert("level1", more='delegates = ["level2"]')
        + expert("level2")
    )

    def script(seen: Seen) -> Turn:
        if seen.query == "To the bottom":
            return Says("I am the bottom.")
        if seen.replies:
            return Says(f"Heard: {seen.messages[-1].results[-1]}")
        return Calls(
            [("level1", {"query": "Further"})]
            if seen.query == "Go down"
            else [("level2", {"query": "To the bottom"})]
        )

    with ModelServer(script) as server:
        ran = here("run", "chain", "Go down", env=keys(server))
    assert ran.code == 0
    states = (
        *("startRun", "callDelegate", "stopRunByDelegate", "completeRun"),
        *("retry", "stopRunByError", "stopRunByInteractiveTool"),
    )
    assert types(ran.checked(), *states) == [
        *("startRun:chain", "callDelegate:chain", "stopRunByDelegate:chain"),
        *("startRun:level1", "callDelegate:level1", "stopRunByDelegate:level1"),
        *("startRun:level2", "completeRun:level2"),
        *("startRun:level1", "completeRun:level1"),
        *("startRun:chain", "completeRun:chain"),
    ]
    assert ran.of("completeRun")[-1]["text"] == "Heard: Heard: I am the bottom."


@proves("stream.parallel-delegates")
def test_two_delegates_at_once_and_then_a_word_more(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(
        expert(more='delegates = ["maths", "text"]') + expert("maths") + expert("text")
    )

    def script(seen: Seen) -> Turn:
        match seen.query:
            case "Count":
                return Says("Four.")
            case "Rhyme":
                return Says("Door.")
            case _ if seen.replies == 0:
                return Calls([("maths", {"query": "Count"}), ("text", {"query": "Rhyme"})])
            case _:
                return Says(f"After {seen.replies} replies.")

    with ModelServer(script) as server:
        ran = here("run", "worker", "Both", env=keys(server))
        assert ran.code == 0
        assert len(ran.of("callDelegate")) == 1
        assert len(ran.of("callDelegate")[0]["toolCalls"]) == 2
        assert len(ran.of("completeRun")) == 3
        ran.checked()
        heard = server.requests[-1].messages[-1].results
        assert heard == ("Four.", "Door.")
        more = here("run", "worker", "More", "--continue-job", ran.job, env=keys(server))
    assert [event["text"] for event in more.of("completeRun")] == ["After 2 replies."]


@proves("stream.mixed-calls")
def test_tools_delegates_and_people_in_one_reply(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(
        asking().replace("instruction", 'delegates = ["helper"]\ninstruction', 1) + expert("helper")
    )
    mixed = Calls(
        [
            ("askUser", {"question": "Which?"}),
            ("helper", {"query": "Help"}),
            ("listDirectory", {"path": "."}),
        ]
    )

    def script(seen: Seen) -> Turn:
        if seen.query == "Help":
            return Says("Helped.")
        return Says("All is said.") if seen.replies else mixed

    with ModelServer(script) as server:
        ran = here("run", "worker", "Go", env=keys(server))
        assert ran.code == 0
        assert len(ran.of("callTools")[0]["toolCalls"]) == 3
        states = (
            *("startRun", "callTools", "callDelegate", "stopRunByDelegate", "completeRun"),
            *("resumeToolCalls", "callInteractiveTool", "stopRunByInteractiveTool"),
        )
        assert types(ran.checked(), *states) == [
            *("startRun:worker", "callTools:worker", "callDelegate:worker"),
            *("stopRunByDelegate:worker", "startRun:helper", "completeRun:helper"),
            *("startRun:worker", "resumeToolCalls:worker", "callInteractiveTool:worker"),
            "stopRunByInteractiveTool:worker",
        ]
        at_delegate = ran.of("stopRunByDelegate")[0]["checkpoint"]
        assert [r["toolName"] for r in at_delegate["partialToolResults"]] == ["listDirectory"]
        stop = ran.of("stopRunByInteractiveTool")[0]["checkpoint"]
        assert stop["status"] == "stoppedByInteractiveTool"
        assert len(stop["partialToolResults"]) == 2
        assert [call["toolName"] for call in stop["pendingToolCalls"]] == ["askUser"]
        done = here("run", "worker", "b", "--continue-job", ran.job, "-i", env=keys(server))
    assert done.of("completeRun")[0]["text"] == "All is said."
    assert server.requests[-1].messages[-1].results[:2] == ("b", "Helped.")


@proves("stream.tool-errors-go-on")
def test_a_tool_that_fails_does_not_end_the_run(here: Here):
    turns = [Calls([("readTextFile", {"path": "nowhere.txt"})]), Says("There is no such file.")]
    with ModelServer(turns) as server:
        ran = here("run", "worker", "Read nowhere.txt", env=keys(server))
    assert ran.code == 0
    assert "does not exist" in str(ran.of("resolveToolResults")[0]["toolResults"])
    assert ran.checked()[-2]["type"] == "completeRun"


@proves("stream.base-skill")
def test_the_base_skill_is_there_before_the_run_starts_and_costs_nothing(here: Here):
    with ModelServer([Calls([("healthCheck", {})]), Says("Well.")]) as server:
        ran = here("run", "worker", "How are you?", env=keys(server))
    order = [event["type"] for event in ran.events]
    assert order.index("skillConnected") < order.index("startRun")
    (connected,) = ran.of("skillConnected")
    assert connected["skillName"] == "@perstack/base"
    assert connected["spawnDurationMs"] == 0


@proves("stream.pick-and-omit")
def test_tools_that_were_left_out_are_not_offered(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(
        expert(
            skills="""
[experts.worker.skills."@perstack/base"]
type = "mcpStdioSkill"
command = "npx"
packageName = "@perstack/base"
pick = ["todo", "attemptCompletion", "exec"]
omit = ["exec"]
"""
        )
    )
    with ModelServer([Calls([("exec", {"command": "true"})]), Says("I may not.")]) as server:
        ran = here("run", "worker", "Go", env=keys(server))
        assert set(server.requests[0].tools) == {"todo", "attemptCompletion"}
    assert ran.code == 0
    assert "exec" in server.requests[1].messages[-1].results[0]


@proves("stream.common-options")
def test_every_common_option_is_taken(here: Here, workspace: Path):
    (workspace / "my.env").write_text("UNUSED=1\n")
    for options in (
        ("--provider", "anthropic"),
        ("--model", "claude-haiku-4-5"),
        ("--max-steps", "10"),
        ("--max-retries", "3"),
        ("--timeout", "60000"),
        ("--job-id", "test-job-id"),
        ("--env-path", "my.env"),
        ("--env", "UNUSED"),
        ("--verbose",),
        ("--runtime", "local"),
        ("--reasoning-budget", "2048"),
    ):
        with ModelServer([Says("done")]) as server:
            ran = here(*options, "run", "worker", "Go", env=keys(server))
            assert ran.code == 1  # options of a command come after its name
            ran = here("run", *options, "worker", "Go", env=keys(server))
        assert ran.code == 0, ran.err
        assert ran.checked()[-2]["type"] == "completeRun"
