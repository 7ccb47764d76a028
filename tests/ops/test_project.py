"""The project a command works in: finding it, its env files, and who wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perstack.definition import Limits, Project, ProviderTable
from perstack.errors import DefinitionError, UnknownExpert, UserError
from perstack.ops.project import Flags, load_env, load_project, need_project, settle

TOML = '[experts.x]\ninstruction = "go"\n'


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# Finding -----------------------------------------------------------------------------------------


def test_the_file_of_the_working_directory_is_found(tmp_path: Path):
    path = write(tmp_path / "perstack.toml", TOML)
    loaded = load_project(None, tmp_path)
    assert loaded is not None
    assert (loaded.path, loaded.directory) == (path, tmp_path)
    assert loaded.parsed.source == "perstack.toml"
    assert loaded.expert("x").instruction == "go"
    assert loaded.find("y") is None
    assert list(loaded.project.experts) == ["x"]


def test_the_nearest_parent_is_found_and_named_in_full(tmp_path: Path):
    write(tmp_path / "perstack.toml", "maxSteps = 0")
    near = write(tmp_path / "a" / "perstack.toml", TOML)
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "perstack.toml").mkdir()  # a directory is not a file
    loaded = load_project(None, deep)
    assert loaded is not None
    assert loaded.path == near
    with pytest.raises(UnknownExpert, match=str(near)):
        loaded.expert("y")


def test_a_file_is_optional_until_it_is_needed(tmp_path: Path):
    if any((parent / "perstack.toml").exists() for parent in tmp_path.parents):
        pytest.skip("a parent of the temporary directory has a perstack.toml")
    assert load_project(None, tmp_path) is None
    with pytest.raises(UserError, match=r"^perstack\.toml not found\. .*--config"):
        need_project(None, tmp_path)


def test_a_named_file_is_taken_from_the_working_directory(tmp_path: Path):
    path = write(tmp_path / "conf" / "my.toml", TOML)
    for config in ("conf/my.toml", "./conf/../conf/my.toml", str(path)):
        assert need_project(config, tmp_path).path == path
    other = need_project(str(path), tmp_path / "conf" / "elsewhere")
    assert other.parsed.source == str(path)


def test_a_named_file_that_is_missing_is_named(tmp_path: Path):
    write(tmp_path / "perstack.toml", TOML)
    with pytest.raises(UserError, match=r"no/such\.toml is not found"):
        load_project("no/such.toml", tmp_path)


def test_what_is_no_file_or_no_text_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="cannot be read"):
        load_project(".", tmp_path)
    (tmp_path / "perstack.toml").write_bytes(b'model = "\xff"')
    with pytest.raises(UserError, match="not UTF-8"):
        load_project(None, tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path):
    (tmp_path / "perstack.toml").write_bytes(b"\xef\xbb\xbf" + TOML.replace("\n", "\r\n").encode())
    assert need_project(None, tmp_path).expert("x").instruction == "go"


@pytest.mark.parametrize(
    "url",
    [
        "https://raw.githubusercontent.com/a/b/main/perstack.toml",
        "HTTP://example.com/x",
        "https://",
    ],
)
def test_a_remote_file_is_not_fetched_but_said_to_be_downloaded(url: str, tmp_path: Path):
    with pytest.raises(UserError, match="Download it") as caught:
        load_project(url, tmp_path)
    assert url in str(caught.value)


def test_a_fault_of_the_file_is_told_with_its_name(tmp_path: Path):
    write(tmp_path / "sub" / "p.toml", 'model = "x"\nmodel')
    with pytest.raises(DefinitionError) as caught:
        load_project("sub/p.toml", tmp_path)
    assert str(caught.value).startswith("sub/p.toml: Validation failed:\n  - line 2")


# Env files ---------------------------------------------------------------------------------------


def test_the_process_wins_then_env_local_then_env(tmp_path: Path):
    write(tmp_path / ".env", "A=env\nB=env\nC=env\nD=env\n")
    write(tmp_path / ".env.local", "A=local\nB=local\nC=\n")
    env = load_env(None, {"A": "process", "D": "", "PATH": "/bin"}, tmp_path)
    assert env == {"A": "process", "B": "local", "C": "env", "D": "env", "PATH": "/bin"}


def test_of_named_files_the_first_wins(tmp_path: Path):
    write(tmp_path / "one", "A=1\n")
    write(tmp_path / "sub" / "two", "A=2\nB=2\n")
    write(tmp_path / ".env", "C=3\n")
    assert load_env(["one", "sub/two"], {}, tmp_path) == {"A": "1", "B": "2"}
    assert load_env(["sub/two", "one"], {}, tmp_path) == {"A": "2", "B": "2"}
    assert load_env([], {}, tmp_path) == {}


def test_a_default_file_may_be_missing_a_named_one_may_not(tmp_path: Path):
    assert load_env(None, {"A": "1"}, tmp_path) == {"A": "1"}
    assert load_env(["gone"], {}, tmp_path, required=False) == {}
    with pytest.raises(UserError, match=r"gone is not found"):
        load_env(["gone"], {}, tmp_path)


def test_a_virtual_environment_called_env_is_no_env_file(tmp_path: Path):
    (tmp_path / ".env").mkdir()
    assert load_env(None, {}, tmp_path) == {}
    with pytest.raises(UserError):
        load_env([".env"], {}, tmp_path)


def test_values_are_taken_as_written(tmp_path: Path):
    write(
        tmp_path / ".env",
        "# comment\n"
        "export A=plain\n"
        "B='single ${A} \\n'\n"
        'C="double\\nline"\n'
        "D=${A}$A\n"
        "E=value # comment\n"
        'F="two\nlines"\n'
        "G\n"
        "H=\n"
        "I=ü\n",
    )
    assert load_env(None, {"A": ""}, tmp_path) == {
        "A": "plain",
        "B": "single ${A} \\n",
        "C": "double\nline",
        "D": "${A}$A",
        "E": "value",
        "F": "two\nlines",
        "I": "ü",
    }


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "keys.env", "A=1\n")
    write(tmp_path / "p.toml", TOML)
    cwd = tmp_path / "work"
    cwd.mkdir()
    assert load_env(["~/keys.env"], {}, cwd) == {"A": "1"}
    assert need_project("~/p.toml", cwd).path == tmp_path / "p.toml"


def test_an_env_file_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(UserError, match="not UTF-8"):
        load_env(None, {}, tmp_path)


def test_the_environment_of_the_process_is_left_alone(tmp_path: Path):
    write(tmp_path / ".env", "PERSTACK_TEST_ONLY=1\n")
    before = dict(os.environ)
    load_env(None, os.environ, tmp_path)
    assert dict(os.environ) == before


# Who wins ----------------------------------------------------------------------------------------


def test_without_file_and_flags_the_defaults_hold():
    settings = settle(None, Flags())
    assert (settings.provider, settings.model) == ("anthropic", None)
    assert (settings.reasoning, settings.runtime) == ("low", "sandbox")
    assert not settings.runtime_chosen
    assert settings.limits == Limits(max_steps=100, max_retries=5, timeout_s=300.0)
    assert (settings.env_paths, settings.env_required) == (None, False)
    assert settings.api_base_url == "https://api.perstack.ai"
    assert settings.provider_table is None


FILE = Project(
    model="gpt-5",
    provider=ProviderTable(provider_name="openai", setting={"organization": "o"}),
    reasoning_budget="none",
    runtime="local",
    max_steps=7,
    max_retries=0,
    timeout_s=1.5,
    env_path=(".env.ci",),
    api_base_url="https://registry.example",
    base_skill_command=("base",),
)


def test_the_file_beats_the_defaults():
    settings = settle(FILE, Flags())
    assert (settings.provider, settings.model) == ("openai", "gpt-5")
    assert settings.provider_table == FILE.provider
    assert (settings.reasoning, settings.runtime) == ("none", "local")
    assert settings.limits == Limits(max_steps=7, max_retries=0, timeout_s=1.5)
    assert (settings.env_paths, settings.env_required) == ((".env.ci",), False)
    assert settings.api_base_url == "https://registry.example"
    assert settings.base_skill_command == ("base",)


def test_a_flag_beats_the_file():
    settings = settle(
        FILE,
        Flags(
            model="o3",
            reasoning=0,
            max_steps=1,
            max_retries=2,
            timeout_s=0.0,
            runtime="sandbox",
            env_paths=("a", "b"),
        ),
    )
    assert (settings.provider, settings.model) == ("openai", "o3")
    assert (settings.reasoning, settings.runtime) == ("none", "sandbox")
    assert settings.limits == Limits(max_steps=1, max_retries=2, timeout_s=0.0)
    assert (settings.env_paths, settings.env_required) == (("a", "b"), True)


def test_another_provider_takes_neither_settings_nor_model_from_the_file():
    settings = settle(FILE, Flags(provider="anthropic"))
    assert (settings.provider, settings.model) == ("anthropic", None)
    assert settings.provider_table is None
    assert settle(FILE, Flags(provider="anthropic", model="m")).model == "m"
    assert settle(FILE, Flags(provider="openai")).model == "gpt-5"


def test_a_model_in_a_file_that_names_no_provider_goes_with_any():
    assert settle(Project(model="gpt-5"), Flags(provider="openai")).model == "gpt-5"


# Names that lead nowhere -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["~nobody-of-this-name/x", "x" * 300, "x/y"])
def test_a_name_that_leads_nowhere_is_one_clear_error(name: str, tmp_path: Path):
    write(tmp_path / "x", TOML)
    with pytest.raises(UserError, match=r"Config file .* (is not found|cannot be read)"):
        load_project(name, tmp_path)
    with pytest.raises(UserError, match=r"Env file .* (is not found|cannot be read)"):
        load_env([name], {}, tmp_path)
