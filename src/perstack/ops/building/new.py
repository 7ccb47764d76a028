"""The files a project begins with, as proposals: what is there now, and what would be."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from perstack import shipped
from perstack.definition import ProviderName, RuntimeName
from perstack.engine import VENDORS
from perstack.errors import UserError
from perstack.models import default_model

from ..atomic import replace_file

PROJECT_FILE = "perstack.toml"
SECRET_MODE = 0o600
_AGENTS = Path(shipped.__file__).parent / "AGENTS.md"
_IGNORED = (".env", ".env.local", "perstack/")


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a new project is to use. model: "" for the provider's default. keys: variables to write into `.env`.

    Holds secrets: its repr hides them.
    """

    provider: ProviderName = "anthropic"
    model: str = ""
    runtime: RuntimeName | None = None
    keys: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    def __repr__(self) -> str:
        return f"Choice(provider={self.provider!r}, model={self.model!r}, keys={list(self.keys)!r})"


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One file. before: its text now, None if there is none. mode: permissions to give it. secrets: never shown.

    to_see: it is shown although it is new.
    """

    path: Path
    before: str | None
    after: str
    mode: int | None = None
    secrets: tuple[str, ...] = ()
    to_see: bool = False

    def __repr__(self) -> str:
        return f"Proposal(path={str(self.path)!r})"

    @property
    def is_new(self) -> bool:
        return self.before is None

    @property
    def changes_nothing(self) -> bool:
        return self.before == self.after

    def diff(self) -> str:
        """How the file would change, as a unified diff with secrets masked."""
        name = self.path.name
        lines = difflib.unified_diff(
            (self.before or "").splitlines(), self.after.splitlines(), name, name, lineterm=""
        )
        text = "\n".join(lines)
        for secret in self.secrets:
            text = text.replace(secret, masked(secret))
        return text

    def write(self) -> None:
        """Raises UserError."""
        try:
            replace_file(self.path, self.after.encode(), mode=self.mode)
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}.") from error


def masked(secret: str) -> str:
    """A secret as it may be shown."""
    return "*" * 8 if len(secret) < 12 else f"{secret[:3]}{'*' * 8}"


def read(path: Path) -> str | None:
    """The text of a file, without a mark of its encoding; None if there is none. Raises UserError."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text. Save it as UTF-8.") from error


def setup_of(cwd: Path, choice: Choice) -> tuple[Proposal, ...]:
    """The files beside the definitions that would be new or another: `.env`, `.gitignore`, `AGENTS.md`."""
    found = (*_env(cwd, choice), _ignoring(cwd), _agents(cwd, choice))
    return tuple(each for each in found if not each.changes_nothing)


def starter(choice: Choice) -> str:
    """A perstack.toml without Experts. A program of another vendor has a model of its own."""
    if choice.runtime in VENDORS and not choice.model:
        return f"runtime = {_text(choice.runtime)}\n"
    lines = [f"model = {_text(choice.model or default_model(choice.provider))}"]
    if choice.runtime is not None:
        lines.append(f"runtime = {_text(choice.runtime)}")
    lines += ["", "[provider]", f"providerName = {_text(choice.provider)}"]
    return "\n".join(lines) + "\n"


def _env(cwd: Path, choice: Choice) -> Iterator[Proposal]:
    if not choice.keys:
        return
    path = cwd / ".env"
    before = read(path)
    kept = [
        line
        for line in (before or "").splitlines()
        if line.removeprefix("export ").partition("=")[0].strip() not in choice.keys
    ]
    told = [f"{name}={_env_value(value)}" for name, value in choice.keys.items()]
    yield Proposal(
        path=path,
        before=before,
        after="\n".join([*kept, *told]) + "\n",
        mode=SECRET_MODE,
        secrets=(*choice.keys.values(), *_values(before or "")),
    )


def _values(env: str) -> Iterator[str]:
    """What is written in an env file, longest first, so that none shows through another."""
    values = {line.partition("=")[2].strip().strip("\"'") for line in env.splitlines()}
    yield from sorted((value for value in values if len(value) > 3), key=len, reverse=True)


def _env_value(value: str) -> str:
    plain = value.replace("-", "").replace("_", "").replace(".", "")
    if plain.isalnum():
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _ignoring(cwd: Path) -> Proposal:
    path = cwd / ".gitignore"
    before = read(path)
    lines = (before or "").splitlines()
    there = {line.strip().strip("/") for line in lines}
    added = [name for name in _IGNORED if name.strip("/") not in there]
    after = before if not added and before is not None else "\n".join([*lines, *added]) + "\n"
    return Proposal(path=path, before=before, after=after)


def _agents(cwd: Path, choice: Choice) -> Proposal:
    text = _AGENTS.read_text(encoding="utf-8")
    vendor = VENDORS.get(choice.runtime) if choice.runtime is not None else None
    own = f"the own one of {vendor.name}" if vendor is not None else ""
    filled = {
        "{provider}": own or choice.provider,
        "{model}": choice.model or own or default_model(choice.provider),
        "{runtime}": choice.runtime or "sandbox (the default)",
        "{starter}": starter(choice).rstrip(),
    }
    for mark, value in filled.items():
        text = text.replace(mark, value)
    path = cwd / "AGENTS.md"
    return Proposal(path=path, before=read(path), after=text)


def _text(value: str) -> str:
    return msgspec.json.encode(value).decode()
