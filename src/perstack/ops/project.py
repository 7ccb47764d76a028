"""The project a command works in: its perstack.toml, its .env files, and who wins.

Flag beats file, file beats default. Relative paths, also those inside the file, start at the working
directory. Does not load the lock, nor ask a registry.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from perstack.definition import (
    DEFAULT_PROVIDER,
    Expert,
    Limits,
    Parsed,
    Project,
    ProviderName,
    ProviderTable,
    Reasoning,
    Rules,
    RuntimeName,
    parse_project,
    parse_rule,
)
from perstack.errors import UserError
from perstack.skills import loopback_allowed

T = TypeVar("T")

FILE_NAME = "perstack.toml"
DEFAULT_ENV_FILES = (".env.local", ".env")
DEFAULT_REASONING: Reasoning = "low"
DEFAULT_RUNTIME: RuntimeName = "sandbox"


class LoadedProject(msgspec.Struct, frozen=True, kw_only=True):
    """A perstack.toml that was read. path: absolute."""

    path: Path
    parsed: Parsed

    @property
    def project(self) -> Project:
        return self.parsed.project

    @property
    def directory(self) -> Path:
        """Where the file lies; its lock lies beside it."""
        return self.path.parent

    def find(self, key: str) -> Expert | None:
        """As `Parsed.find`: None if it is not of this file, DefinitionError if it is broken."""
        return self.parsed.find(key)

    def expert(self, key: str) -> Expert:
        """As `Parsed.expert`: UnknownExpert if it is not of this file, DefinitionError if it is broken."""
        return self.parsed.expert(key)


def load_project(
    config: str | None, cwd: Path, env: Mapping[str, str] | None = None
) -> LoadedProject | None:
    """The project of `config` if given, else the nearest one from `cwd` upwards; None if there is none.

    env: the process environment; it may allow remote skills to be on this machine.
    Raises UserError if the file cannot be read, DefinitionError if it cannot be used.
    """
    path = _find(cwd) if config is None else _configured(config, cwd)
    if path is None:
        return None
    shown = _shown(path, cwd)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{shown} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{shown} is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from error
    return LoadedProject(
        path=path, parsed=parse_project(text, shown, allow_loopback=loopback_allowed(env or {}))
    )


def need_project(
    config: str | None, cwd: Path, env: Mapping[str, str] | None = None
) -> LoadedProject:
    """As `load_project`; having none is a UserError."""
    loaded = load_project(config, cwd, env)
    if loaded is None:
        raise UserError(
            f"{FILE_NAME} not found. Create one in this directory or a parent of it, "
            "or name one with --config."
        )
    return loaded


def _find(cwd: Path) -> Path | None:
    start = cwd.absolute()
    # os.path.isfile: a directory that may not be searched counts as having none
    candidates = (directory / FILE_NAME for directory in (start, *start.parents))
    return next((path for path in candidates if os.path.isfile(path)), None)


def _configured(config: str, cwd: Path) -> Path:
    if config.lower().startswith(("http://", "https://")):
        raise UserError(
            f"--config takes a local file; {config} is not fetched. "
            "Download it, read it, and give the path of the copy."
        )
    path = Path(os.path.abspath(cwd / os.path.expanduser(config)))
    if fault := _unreachable(path):
        raise UserError(f"Config file {config} {fault}.")
    return path


def _unreachable(path: Path) -> str:
    """Why there is nothing to be read at `path`, "" if there is something."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "is not found"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _shown(path: Path, cwd: Path) -> str:
    here = cwd.absolute()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def load_env(
    paths: Sequence[str] | None, process_env: Mapping[str, str], cwd: Path, *, required: bool = True
) -> dict[str, str]:
    """The variables a run sees: those of the process, then of each file; the first that sets a name wins.

    paths: files in order of precedence, None for `.env.local` and then `.env`, where they exist. An empty
    value counts as not set. Values are taken as written, `${NAME}` is not expanded.
    required: a file of `paths` that is missing is a UserError.
    """
    env = {name: value for name, value in process_env.items() if value}
    for path in DEFAULT_ENV_FILES if paths is None else paths:
        for name, value in _read_env(path, cwd, required and paths is not None).items():
            env.setdefault(name, value)
    return env


def _read_env(name: str, cwd: Path, required: bool) -> dict[str, str]:
    from dotenv import dotenv_values  # only a command that runs something pays for it

    path = cwd / os.path.expanduser(name)
    fault = _unreachable(path)
    if fault or path.is_dir():  # `.env` is also a usual name for a virtual environment
        if required:
            raise UserError(
                f"Env file {name} {fault or 'is not found'}. Create it, or leave it out of --env-path."
            )
        return {}
    try:
        values = dotenv_values(path, interpolate=False, encoding="utf-8")
    except OSError as error:
        raise UserError(f"Env file {name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"Env file {name} is not UTF-8 text. Save it as UTF-8.") from error
    return {key: value for key, value in values.items() if value}


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said; None where it said nothing.

    approve, deny: texts of rules, beside those of the Experts.
    """

    provider: ProviderName | None = None
    model: str | None = None
    reasoning: Reasoning | None = None
    max_steps: int | None = None
    max_retries: int | None = None
    timeout_s: float | None = None
    max_tokens: int | None = None
    max_duration_s: float | None = None
    max_cost: float | None = None
    runtime: RuntimeName | None = None
    env_paths: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    @property
    def rules(self) -> Rules:
        """Raises UserError for what is no rule."""
        for text in (*self.approve, *self.deny):
            parse_rule(text)
        return Rules(approve=self.approve, deny=self.deny)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run goes by, once flag, file and default have been weighed.

    model: None if nobody named one, the provider's default is meant. provider_table: the settings of the
    file, None if they are about another provider. env_paths, env_required: for `load_env`.
    runtime_chosen: somebody named it.
    """

    provider: ProviderName
    provider_table: ProviderTable | None
    model: str | None
    reasoning: Reasoning
    limits: Limits
    runtime: RuntimeName
    runtime_chosen: bool
    env_paths: tuple[str, ...] | None
    env_required: bool
    api_base_url: str
    base_skill_command: tuple[str, ...]


def settle(project: Project | None, flags: Flags) -> Settings:
    """The settings of a run. project: None if there is no file."""
    file = project or Project()
    table = file.provider
    provider = flags.provider or (table.provider_name if table else DEFAULT_PROVIDER)
    # A model named in the file belongs to the provider named in the file
    other = table is not None and table.provider_name != provider
    limits = Limits()
    return Settings(
        provider=provider,
        provider_table=None if other else table,
        model=flags.model or (None if other else file.model),
        reasoning=_first(flags.reasoning, file.reasoning_budget, DEFAULT_REASONING) or "none",
        limits=Limits(
            max_steps=_first(flags.max_steps, file.max_steps, limits.max_steps),
            max_retries=_first(flags.max_retries, file.max_retries, limits.max_retries),
            timeout_s=_first(flags.timeout_s, file.timeout_s, limits.timeout_s),
            max_tokens=_first(flags.max_tokens, file.max_tokens, None),
            max_duration_s=_first(flags.max_duration_s, file.max_duration_s, None),
            max_cost=_first(flags.max_cost, file.max_cost, None),
        ),
        runtime=_first(flags.runtime, file.runtime, DEFAULT_RUNTIME),
        runtime_chosen=(flags.runtime or file.runtime) is not None,
        env_paths=flags.env_paths or file.env_path,
        env_required=bool(flags.env_paths),
        api_base_url=file.api_base_url,
        base_skill_command=file.base_skill_command,
    )


def _first(flag: T | None, file: T | None, default: T) -> T:
    return next((value for value in (flag, file) if value is not None), default)
