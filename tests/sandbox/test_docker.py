"""What docker is told of a sandbox: command lines and images, as values."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from perstack.definition import StdioSkill
from perstack.job import ImageProgress
from perstack.sandbox.docker import (
    DOOR,
    GIVEN,
    LIMITS,
    Box,
    Kind,
    dockerfile,
    image_of,
    progress_in,
    run_argv,
)
from perstack.sandbox.policy import Host, Place, Policy, policy_of

IMAGE = Host(system=(), programs=(), path=("/usr/bin",))


def policy(place: Place | None = None, *, serves: bool = True) -> Policy:
    skill = StdioSkill(command="python3", args=("server.py",), required_env=("TOKEN",))
    where = place or Place(workspace="/project", hidden=("/project/perstack",))
    made = policy_of("geo", skill, IMAGE, where, proxy={}, serves=serves)
    return replace(made, limits=LIMITS)


def box(kinds: dict[str, Kind] | None = None) -> Box:
    return Box(
        image="an-image",
        user="1000:1000",
        cwd="/project",
        door="/tmp/x/door",
        code="/opt/perstack/sandbox",
        owner="boot.1.2.abc",
        env=("PATH", "TOKEN"),
        strict="/tmp/x/strict",
        kinds=kinds or {},
    )


def words(**kinds: Kind) -> list[str]:
    there: dict[str, Kind] = {}
    for name, kind in kinds.items():
        there["/project/" + name.replace("__", "/").replace("_", ".")] = kind
    return list(run_argv(policy(), box(there), ("python3", "server.py")))


def values(argv: list[str], option: str) -> list[str]:
    return [argv[at + 1] for at, word in enumerate(argv) if word == option]


def test_a_container_has_no_network_no_rights_and_no_place_to_write_to():
    argv = words()
    assert values(argv, "--network") == ["none"]
    assert values(argv, "--cap-drop") == ["ALL"]
    assert values(argv, "--security-opt") == ["no-new-privileges"]
    assert values(argv, "--user") == ["1000:1000"]
    assert values(argv, "--pids-limit") == ["256"]
    assert values(argv, "--memory") == values(argv, "--memory-swap") == [str(2 * 1024**3)]
    assert values(argv, "--cpus") == ["2"]
    assert {"--read-only", "--rm"} <= set(argv)
    assert not {
        "--privileged",
        "--publish",
        "-p",
        "--volume",
        "--device",
        "--pid",
        "--cap-add",
    } & set(argv)


def test_of_this_machine_only_the_workspace_can_be_written():
    writable = [mount for mount in values(words(), "--mount") if not mount.endswith(",readonly")]
    assert writable == [
        "type=bind,source=/project,target=/project",
        f"type=bind,source=/tmp/x/door,target={DOOR}",
    ]


def test_variables_go_by_name_and_under_names_that_docker_does_not_heed():
    argv = words()
    assert values(argv, "--env") == [f"{GIVEN}PATH", f"{GIVEN}TOKEN"]


def test_the_program_comes_last_and_is_not_read_as_options():
    argv = list(run_argv(policy(), box(), ("--privileged", "-v", "/:/host")))
    assert argv[argv.index("an-image") :][-4:] == [DOOR, "--privileged", "-v", "/:/host"]


def test_what_reaches_beyond_the_run_is_read_only_or_hidden():
    argv = words(perstack="folder", _git="folder", _git__hooks="folder", _vscode="placeholder")
    mounts = values(argv, "--mount")
    assert "type=tmpfs,target=/project/perstack,readonly" in mounts
    # A place of its own: it cannot be moved
    assert "type=bind,source=/project/.git,target=/project/.git" in mounts
    assert "type=bind,source=/project/.git/hooks,target=/project/.git/hooks,readonly" in mounts
    assert "type=bind,source=/project/.vscode,target=/project/.vscode,readonly" in mounts


def test_a_file_that_is_hidden_is_empty():
    place = Place(workspace="/project", hidden=("/project/.env",))
    argv = list(run_argv(policy(place), box({"/project/.env": "file"}), ("true",)))
    assert (
        "type=bind,source=/opt/perstack/sandbox/etc/empty,target=/project/.env,readonly"
        in values(argv, "--mount")
    )


@pytest.mark.parametrize("name", ['a,b"c', "a b", "a:b", "a=b,readonly=false"])
def test_a_path_cannot_say_more_than_itself(name: str):
    place = Place(workspace=f"/{name}")
    argv = list(run_argv(policy(place), box(), ("true",)))
    import csv

    fields = [next(csv.reader([mount])) for mount in values(argv, "--mount")]
    assert ["type=bind", f"source=/{name}", f"target=/{name}"] in fields


def test_the_same_dockerfile_has_the_same_name_and_another_base_another():
    assert image_of(dockerfile("a")) == image_of(dockerfile("a")) != image_of(dockerfile("b"))
    assert (
        dockerfile("registry.example/python:3.12").splitlines()[1]
        == "FROM registry.example/python:3.12"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", None),
        ("  \n", None),
        ("Step 2/4 : RUN true", ("building", 0.25)),
        ("#5 [2/2] RUN apt-get update", ("building", 0.5)),
        ("#1 [internal] load build definition", ("building", None)),
        ("Pulling fs layer", ("pulling", None)),
        ("#3 pull token for registry-1.docker.io", ("pulling", None)),
    ],
)
def test_lines_of_a_build_are_told(line: str, told: tuple[str, float | None] | None):
    found = progress_in(line)
    if told is None:
        assert found is None
    else:
        stage, progress = told
        assert found == ImageProgress(
            stage=stage,  # pyright: ignore[reportArgumentType]  # one of the stages
            service="skills",
            text=line.strip(),
            progress=progress,
        )
