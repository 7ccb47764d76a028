"""Everything that can go wrong: one clear message, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from perstack.cli.main import COMMANDS
from tests.behaviour.register import proves
from tests.fakes.modelserver import Calls, Fails, Hangs, ModelServer, Says

from .conftest import Here
from .program import (
    LOCAL,
    Ran,
    asking,
    command,
    environment,
    expert,
    facts,
    is_one_message,
    keys,
    log_of,
    perstack,
)

KEY = {"ANTHROPIC_API_KEY": "sk-test-1234"}
RUN = ("run", "worker", "Go")


def jobs_in(workspace: Path) -> list[str]:
    jobs = workspace / "perstack" / "jobs"
    return sorted(path.name for path in jobs.iterdir()) if jobs.exists() else []


# Usage ----------------------------------------------------------------------------------------------------


@proves("cli.usage-errors", "cli.message-texts")
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run",), "missing required argument 'expertKey'"),
        (("run", "worker"), "missing required argument 'query'"),
        (("run", "worker", "Go", "more"), "unexpected extra argument"),
        ((*RUN, "--frobnicate"), "No such option '--frobnicate'"),
        ((*RUN, "--cassete", "x"), "'--cassette'"),
        ((*RUN, "--model"), "Option '--model' requires an argument"),
        ((*RUN, "--max-steps", "5abc"), "Invalid value for '--max-steps': '5abc'"),
        ((*RUN, "--max-steps", "0"), "Invalid value for '--max-steps': 0"),
        ((*RUN, "--max-steps", "1e3"), "Invalid value for '--max-steps': '1e3'"),
        ((*RUN, "--max-retries", "-1"), "Invalid value for '--max-retries': -1"),
        ((*RUN, "--timeout", "soon"), "Invalid value for '--timeout': 'soon'"),
        (
            (*RUN, "--reasoning-budget", "lots"),
            "'lots' is neither none, minimal, low, medium, high",
        ),
        ((*RUN, "--provider", "invalid-provider"), "'invalid-provider' is not one of 'anthropic'"),
        ((*RUN, "--runtime", "invalid-runtime"), "'invalid-runtime' is not one of 'local'"),
        ((*RUN, "--output", "xml"), "'xml' is not one of 'json', 'text'"),
        ((*RUN, "--workspace", "nowhere"), "Directory 'nowhere' does not exist"),
        ((*RUN, "--cassette", "none.jsonl"), "File 'none.jsonl' does not exist"),
        ((*RUN, "--resume-from", "c"), "--resume-from requires --continue-job"),
        ((*RUN, "--continue", "--resume-from", "c"), "--resume-from requires --continue-job"),
        ((*RUN, "--continue", "--continue-job", "j"), "cannot be used together"),
        ((*RUN, "-i"), "-i requires --continue or --continue-job"),
        (("run", "worker", "--continue", "-i"), "-i requires a query"),
        (("run", "tic-tac-toe", "--demo", "--continue"), "--demo plays a recording"),
        (("run", "tic-tac-toe", "--demo", "--workspace", "."), "--demo plays a recording"),
        (("rnu", "worker", "Go"), "No such command 'rnu'. Did you mean 'run'?"),
        (("frobnicate",), "No such command 'frobnicate'.\n"),
        (("skill", "tset"), "No such command 'tset'"),
        (("show",), "missing required argument 'expertKey'"),
        (("show", "worker", "--json=yes"), "does not take a value"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(map(str, value)),
)
def test_a_command_line_that_cannot_be_meant(args: tuple[str, ...], message: str, here: Here):
    ran = here(*args, env=KEY)
    assert ran.code == 1
    assert ran.out == ""
    assert message in ran.err
    assert is_one_message(ran.err)


def test_without_a_command_the_usage_goes_to_stderr(here: Here):
    ran = here()
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("Usage: perstack")


# Definitions ----------------------------------------------------------------------------------------------


@proves("definitions.all-faults-at-once")
def test_a_broken_file_is_told_with_all_its_faults(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(
        """
maxSteps = "many"
runtime = "moon"
[provider]
providerName = "acme"
"""
    )
    settings = here(*RUN, env=KEY)
    assert (settings.code, settings.out) == (1, "")
    assert settings.err.startswith("error: perstack.toml: Validation failed:\n")
    for place in ("maxSteps", "runtime", "provider.providerName"):
        assert f"  - {place}: " in settings.err

    (workspace / "perstack.toml").write_text(
        """
[experts.worker]
instruction = 5
delegates = "helper"
[experts.worker.skills.web]
type = "mcpSseSkill"
endpoint = "http://localhost/sse"
"""
    )
    ran = here(*RUN, env=KEY)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: perstack.toml: Validation failed:\n")
    for place in (
        "experts.worker.instruction",
        "experts.worker.delegates",
        "experts.worker.skills.web.endpoint",
    ):
        assert f"  - {place}: " in ran.err
    assert jobs_in(workspace) == []


def test_a_file_that_is_no_toml_is_told_with_its_line(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text("[experts.worker\ninstruction = 1")
    ran = here(*RUN, env=KEY)
    assert ran.code == 1
    assert "perstack.toml" in ran.err
    assert "line 1" in ran.err
    assert is_one_message(ran.err)


def test_a_broken_expert_does_not_keep_others_from_running(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(expert() + "[experts.broken]\ninstruction = 5\n")
    with ModelServer([Says("done")]) as server:
        ran = here(*RUN, env=keys(server))
        other = here("run", "broken", "Go", env=keys(server))
    assert ran.code == 0
    assert (other.code, is_one_message(other.err)) == (1, True)
    assert "experts.broken.instruction" in other.err


def test_unknown_keys_are_warned_of_on_stderr_and_the_run_goes_on(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text("maxStep = 3\n" + expert())
    with ModelServer([Says("done")]) as server:
        ran = here(*RUN, env=keys(server))
    assert ran.code == 0
    assert ran.err.startswith("warning: ")
    assert "maxStep" in ran.err
    assert "maxSteps" in ran.err


@proves("cli.message-texts")
@pytest.mark.parametrize("key", ["nobody", "@user/expert", "@invalid", "A", "worker@2.0.0", ""])
def test_an_expert_nobody_has(key: str, here: Here, workspace: Path):
    ran = here("run", key, "Go", env=KEY)
    assert (ran.code, ran.out) == (1, "")
    assert "not found in perstack.toml" in ran.err
    assert is_one_message(ran.err)
    assert jobs_in(workspace) == []


def test_the_nearest_names_are_offered(here: Here, tmp_path: Path):
    own = here("run", "wroker", "Go", env=KEY)
    nowhere = ", nor in the cache of https://api.perstack.ai (offline)"
    assert own.err == (
        f'error: Expert "wroker" not found in perstack.toml{nowhere}. Did you mean "worker"?\n'
    )
    shipped = here("run", "fitness-asistant", "Go", cwd=tmp_path, env=KEY)
    assert shipped.err == (
        'error: Expert "fitness-asistant" not found in the shipped Experts; there is no perstack.toml '
        f'here or above{nowhere}. Did you mean "fitness-assistant"?\n'
    )


@proves("cli.message-texts")
def test_a_delegate_nobody_has(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(expert(more='delegates = ["nonexistent-helper"]'))
    ran = here(*RUN, env=KEY)
    assert (ran.code, ran.out) == (1, "")
    assert 'Expert "nonexistent-helper" not found' in ran.err


@proves("cli.message-texts")
def test_a_config_that_is_not_there(here: Here):
    ran = here(*RUN, "--config", "elsewhere/nonexistent.toml", env=KEY)
    assert (ran.code, ran.out) == (1, "")
    assert "elsewhere/nonexistent.toml is not found" in ran.err


def test_config_and_env_files_are_found_from_the_working_directory(here: Here, tmp_path: Path):
    """And not from the workspace, which is the Expert's to write to."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "perstack.toml").write_text('[experts.worker]\ninstruction = "Say the wrong thing."\n')
    (work / ".env").write_text("ANTHROPIC_API_KEY=wrong\nANTHROPIC_BASE_URL=http://127.0.0.1:1\n")
    project = tmp_path / "project"
    project.mkdir()
    (project / "perstack.toml").write_text(expert(instruction="Say the right thing."))
    (project / "mine.toml").write_text(expert(instruction="Say my thing."))
    with ModelServer([Says("done"), Says("done")]) as server:
        (project / ".env").write_text(
            "".join(f"{name}={value}\n" for name, value in keys(server).items())
        )
        ran = here(*RUN, "--workspace", str(work), cwd=project)
        mine = here(*RUN, "--workspace", str(work), "--config", "mine.toml", cwd=project)
        systems = [request.system for request in server.requests]
    assert (ran.code, mine.code) == (0, 0)
    assert "Say the right thing." in systems[0]
    assert "Say my thing." in systems[1]
    assert jobs_in(work) == sorted([ran.job, mine.job])


@proves("cli.no-weaker-runtime")
@pytest.mark.parametrize("runtime", ["sandbox", "docker", "cursor", "claude-code", "gemini"])
def test_a_runtime_that_is_not_there_is_not_replaced(
    runtime: str, here: Here, workspace: Path, tmp_path: Path
):
    env = {**KEY, "PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/none"}
    by_flag = here(*RUN, "--runtime", runtime, env=env)
    (workspace / "perstack.toml").write_text(f'runtime = "{runtime}"\n' + expert())
    by_file = here(*RUN, env=env)
    for ran in (by_flag, by_file):
        assert (ran.code, ran.out) == (1, "")
        assert is_one_message(ran.err)
        assert "Runtime local" not in ran.err
    assert jobs_in(workspace) == []


# Credentials and models -----------------------------------------------------------------------------------


NOT_SERVED = ("azure-openai", "amazon-bedrock", "google-vertex")


def test_a_provider_that_is_not_served_yet_is_not_offered(here: Here):
    offered = here("run", "--help").out
    assert "anthropic" in offered
    assert not any(name in offered for name in NOT_SERVED)
    ran = here("create", "--help")
    assert not any(name in ran.out for name in NOT_SERVED)


def test_a_key_of_another_provider_is_pointed_to(here: Here):
    ran = here(*RUN, env={"OPENAI_API_KEY": "sk-test-1234"})
    assert ran.code == 1
    assert "ANTHROPIC_API_KEY is not set" in ran.err
    assert "OPENAI_API_KEY is set: --provider openai uses it." in ran.err
    assert "sk-test-1234" not in ran.err
    ran = here(*RUN, "--provider", "google", env=KEY)
    assert "ANTHROPIC_API_KEY is set: --provider anthropic uses it." in ran.err


@pytest.mark.parametrize("model", ["", 'model = "m"\n'])
@pytest.mark.parametrize("provider", NOT_SERVED)
def test_a_provider_that_is_not_served_yet_is_told_with_those_that_are(
    provider: str, model: str, here: Here, workspace: Path
):
    table = f'{model}[provider]\nproviderName = "{provider}"\n'
    (workspace / "perstack.toml").write_text(table + expert())
    for args in (RUN, ("run", "tic-tac-toe", "Go", "--provider", provider)):
        ran = here(*args)
        assert (ran.code, ran.out) == (1, "")
        assert f'The provider "{provider}" is not served yet' in ran.err
        assert "These work today: anthropic, google, openai, deepseek, ollama." in ran.err
        assert is_one_message(ran.err)
    assert jobs_in(workspace) == []


@proves("cli.missing-key")
@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("anthropic", "ANTHROPIC_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("google", "GOOGLE_GENERATIVE_AI_API_KEY"),
        ("deepseek", "DEEPSEEK_API_KEY"),
    ],
)
def test_a_key_that_is_not_set(provider: str, name: str, here: Here, workspace: Path):
    ran = here(*RUN, "--provider", provider, env={name: ""})
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f'error: {name} is not set; provider "{provider}" needs it. '
        "Set it in the environment, or write it as NAME=value into a .env file.\n"
    )
    assert jobs_in(workspace) == []


def test_an_env_file_that_is_named_must_be_there(here: Here):
    ran = here(*RUN, "--env-path", "secrets.env")
    assert (ran.code, ran.out) == (1, "")
    assert "Env file secrets.env is not found" in ran.err


@proves("run.exit-codes")
def test_a_model_nobody_has(here: Here, workspace: Path):
    with ModelServer([Fails(404, "model: acme-9")]) as server:
        ran = here(*RUN, "--model", "acme-9", env=keys(server))
    assert ran.code == 1
    assert ran.checked()[-2]["type"] == "stopRunByError"
    assert "acme-9" in ran.err
    assert is_one_message(ran.err)
    assert f"--continue-job {ran.job}" in ran.err
    assert facts(workspace, ran.job)[-1]["type"] == "runFinished"


def test_a_key_that_is_refused_is_not_tried_again_and_not_shown(here: Here):
    with ModelServer([Fails(401, "invalid x-api-key")]) as server:
        ran = here(*RUN, env=keys(server))
        assert len(server.requests) == 1
    assert ran.code == 1
    assert "invalid x-api-key" in ran.err
    assert "Look at the key: anthropic takes it from ANTHROPIC_API_KEY.\n" in ran.err
    assert "sk-test-1234" not in ran.err + ran.out


def test_a_server_that_is_not_there(here: Here):
    env = KEY | {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
    ran = here(*RUN, "--max-retries", "0", env=env)
    assert ran.code == 1
    assert "127.0.0.1:1" in ran.err
    assert is_one_message(ran.err)


def test_a_reply_that_does_not_come_in_time(here: Here):
    with ModelServer([Hangs(1)]) as server:
        ran = here(*RUN, "--timeout", "50", "--max-retries", "0", env=keys(server))
    assert ran.code == 1
    assert "did not finish its reply within 0.05 s" in ran.err


# Jobs -----------------------------------------------------------------------------------------------------


@proves("cli.job-ids")
@pytest.mark.parametrize("id", ["../outside", "a/b", ".hidden", "", "a" * 129, "a..b", "a b"])
def test_an_id_that_cannot_be_one(id: str, here: Here, workspace: Path):
    with ModelServer([Says("done")]) as server:
        goes_on = here(*RUN, "--continue-job", id, env=keys(server))
        assert (goes_on.code, goes_on.out) == (1, "")
        assert "cannot be a job id" in goes_on.err
        new = here(*RUN, "--job-id", id, env=keys(server))
    assert (new.code, new.out) == (1, "")
    assert "cannot be a job id" in new.err
    assert jobs_in(workspace) == []
    assert not (workspace.parent / "outside").exists()


def test_a_job_that_is_not_there(here: Here):
    ran = here(*RUN, "--continue-job", "nothere", env=KEY)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: There is no job nothere here. `perstack log --jobs` lists the jobs.\n"
    latest = here(*RUN, "--continue", env=KEY)
    assert (latest.code, latest.out) == (1, "")
    assert 'No job of "worker" found' in latest.err


def test_an_id_that_is_taken(here: Here, workspace: Path):
    with ModelServer([Says("one"), Says("two")]) as server:
        first = here(*RUN, "--job-id", "mine", env=keys(server))
        before = log_of(workspace, "mine").read_bytes()
        ran = here(*RUN, "--job-id", "mine", env=keys(server))
    assert first.job == "mine"
    assert (ran.code, ran.out) == (1, "")
    assert "There is a job mine already" in ran.err
    assert log_of(workspace, "mine").read_bytes() == before


def test_another_expert_cannot_go_on_with_the_job(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(expert() + expert("other"))
    with ModelServer([Says("one")]) as server:
        job = here(*RUN, env=keys(server)).job
        before = log_of(workspace, job).read_bytes()
        ran = here("run", "other", "Go", "--continue-job", job, env=keys(server))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f'error: Job {job} belongs to the Expert "worker", not to "other". Use "worker" to go on with it.\n'
    )
    assert log_of(workspace, job).read_bytes() == before


def test_a_checkpoint_that_is_not_there(here: Here, workspace: Path):
    with ModelServer([Says("one"), Says("two")]) as server:
        job = here(*RUN, env=keys(server)).job
        before = log_of(workspace, job).read_bytes()
        ran = here(*RUN, "--continue-job", job, "--resume-from", "nope", env=keys(server))
        assert (ran.code, ran.out) == (1, "")
        assert f"Checkpoint nope not found in job {job}" in ran.err
        assert log_of(workspace, job).read_bytes() == before

        (way,) = re.findall(r"`perstack (log .*)`", ran.err)
        points = re.findall(r"Checkpoint: (\w+)", here(*way.split()).out)
        again = (*RUN, "--continue-job", job, "--resume-from", points[0])
        assert here(*again, env=keys(server)).code == 0


def test_a_finished_job_wants_words(here: Here):
    with ModelServer([Says("one")]) as server:
        job = here(*RUN, env=keys(server)).job
        ran = here("run", "worker", "--continue-job", job, env=keys(server))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"error: Job {job} is done. Give a query to go on with it.\n"


@proves("run.answers")
def test_answers_where_none_is_waited_for_and_words_where_one_is(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(asking())
    ask = Calls([("askUser", {"question": "Which?"})])
    with ModelServer([Says("one"), ask]) as server:
        done = here(*RUN, env=keys(server))
        no_question = here(*RUN, "--continue-job", done.job, "-i", env=keys(server))
        waits = here(*RUN, env=keys(server))
        before = log_of(workspace, waits.job).read_bytes()
        words = here(*RUN, "--continue-job", waits.job, env=keys(server))
        silence = here("run", "worker", "--continue-job", waits.job, env=keys(server))
        told = {"toolCallId": "nope", "toolName": "askUser", "skillName": "human", "text": "b"}
        other = here(
            *("run", "worker", json.dumps(told), "--continue-job", waits.job, "-i"),
            env=keys(server),
        )
    assert (no_question.code, no_question.out) == (1, "")
    assert "waits for no answer" in no_question.err
    assert waits.code == 0
    assert 'Waiting for your answer to askUser {"question":"Which?"}' in waits.err
    for ran in (words, silence):
        assert (ran.code, ran.out) == (1, "")
        assert 'waits for an answer: askUser {"question":"Which?"}. Give it with -i.' in ran.err
    assert (other.code, other.out) == (1, "")
    assert "waits for no answer to nope. It waits for: " in other.err
    assert log_of(workspace, waits.job).read_bytes() == before


def test_skills_that_cannot_be_started(here: Here, workspace: Path):
    (workspace / "perstack.toml").write_text(
        expert(skills='[experts.worker.skills.web]\ntype = "mcpStdioSkill"\ncommand = "npx"')
    )
    ran = here(*RUN, env=KEY)
    assert ran.code == 1
    assert "has no packageName or args" in ran.err
    assert is_one_message(ran.err)


def test_a_server_that_ends_at_once_is_to_be_tried_by_hand(here: Here, workspace: Path):
    server = 'type = "mcpStdioSkill"\ncommand = "false"\nargs = ["x"]'
    (workspace / "perstack.toml").write_text(
        LOCAL + expert(skills=f"[experts.worker.skills.web]\n{server}")
    )
    ran = here(*RUN, env=KEY)
    assert ran.code == 1
    assert is_one_message(ran.err)
    assert ran.err.endswith("\nTry it by hand: perstack skill test <expertKey> web\n")


# Cassettes ------------------------------------------------------------------------------------------------


@proves("cassettes.mismatch")
def test_a_cassette_that_does_not_fit(here: Here, workspace: Path):
    with ModelServer([Says("one")]) as server:
        here(*RUN, "--record", "tape.jsonl", env=keys(server))
    ran = here("run", "worker", "Something else", "--cassette", "tape.jsonl")
    assert ran.code == 1
    assert "Cassette tape.jsonl does not fit" in ran.err
    assert "-user: Go" in ran.err
    assert "+user: Something else" in ran.err
    assert is_one_message(ran.err)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), ("{}", "line 1"), ('{"cassette":1}\n{"x":', "line 2"), ("hello", "line 1")],
)
def test_a_cassette_that_is_none(text: str, message: str, here: Here, workspace: Path):
    (workspace / "tape.jsonl").write_text(text)
    ran = here(*RUN, "--cassette", "tape.jsonl")
    assert (ran.code, ran.out) == (1, "")
    assert message in ran.err
    assert is_one_message(ran.err)


def test_a_recording_cannot_go_on_without_a_model(tmp_path: Path):
    env = KEY | {"TMPDIR": str(tmp_path)}
    ran = perstack("run", "tic-tac-toe", "--demo", cwd=tmp_path, env=env)
    (place,) = tmp_path.iterdir()
    again = perstack(
        *("run", "tic-tac-toe", "More", "--continue-job", ran.job, "--workspace", str(place)),
        cwd=tmp_path,
        env=env,
    )
    assert (ran.code, again.code) == (0, 1)
    assert "Choose one with --provider to go on." in again.err


# stdout ---------------------------------------------------------------------------------------------------


def test_a_closed_stdout_is_an_error_before_anything_runs(workspace: Path):
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command(*RUN)],
        cwd=workspace,
        env=environment(KEY),
        stderr=subprocess.PIPE,
        check=False,
    )
    assert done.returncode == 1
    assert b"stdout is closed" in done.stderr
    assert jobs_in(workspace) == []


@pytest.mark.parametrize(
    "args",
    [
        ("--help",),
        ("log",),
        ("log", "--json"),
        ("show", "worker"),
        ("replay", "job"),
        ("replay", "job", "--output", "text"),
    ],
)
def test_a_full_stdout_is_an_error(args: tuple[str, ...], here: Here, workspace: Path):
    with ModelServer([Says("one")]) as server:
        assert here(*RUN, "--job-id", "job", env=keys(server)).code == 0
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(*args),
            cwd=workspace,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"error: The output cannot be written: No space left on device.\n"


def raw(*args: bytes | str, cwd: Path, env: Mapping[str, str]) -> Ran:
    """The program, given bytes that need not be text."""
    done = subprocess.run(
        [*command(), *args], cwd=cwd, env=environment(env), capture_output=True, check=False
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_what_is_not_utf8(workspace: Path):
    query = raw("run", "worker", b"caf\xe9", cwd=workspace, env=KEY)
    assert (query.code, query.out) == (1, "")
    assert query.err == "error: the argument 'caf?' is not UTF-8 text\n"
    odd = workspace / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    place = raw(*RUN, cwd=odd, env=KEY)
    assert (place.code, place.out) == (1, "")
    assert "caf?' is not UTF-8 text" in place.err
    assert is_one_message(place.err)


def test_a_working_directory_that_is_gone(tmp_path: Path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["/bin/sh", "-c", 'rmdir ../gone && exec "$@"', "sh", *command(*RUN)],
        cwd=gone,
        env=environment(KEY),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: the working directory does not exist any more")


def test_a_recording_does_not_go_into_a_file_of_another_kind(here: Here, workspace: Path):
    (workspace / "notes.md").write_text("my notes\n")
    with ModelServer([Says("one")]) as server:
        ran = here(*RUN, "--record", "notes.md", env=keys(server))
        assert len(server.requests) == 0
    assert ran.code == 1
    assert "notes.md is no cassette. Record to a new file, or delete this one." in ran.err
    assert (workspace / "notes.md").read_text() == "my notes\n"


def test_help_and_version_of_everything(here: Here):
    version = here("--version")
    assert version.code == 0
    assert version.out.split()[0] == "perstack"
    for name in COMMANDS:
        ran = here(name, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith(f"Usage: perstack {name}")
    told = here("run", "--help").out
    assert "expertKey" in told
    assert "query" in told


def test_verbose_tells_what_was_settled(here: Here, workspace: Path):
    with ModelServer([Says("one")]) as server:
        ran = here(*RUN, "--verbose", env=keys(server))
    assert ran.code == 0
    assert f"Definitions: {workspace}/perstack.toml" in ran.err
    assert "Model: anthropic/" in ran.err
    assert f"Workspace: {workspace}" in ran.err
    assert f"Job: {ran.job}" in ran.err
    assert perstack("--version", cwd=workspace).code == 0
