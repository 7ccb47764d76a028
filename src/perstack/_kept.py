"""Which places of a workspace are not an Expert's to write, or to see: the one answer, for all who ask.

    kept_in(place) -> path to Keeping

The walls around programs make mounts of it, and the file tools of the base skill look it up before each deed, so
what holds for the one holds for the other. Here it is only said; nothing is looked at in the workspace.

What is kept is what runs, or is obeyed, without anybody asking for it: a hook when git commits, a setting when an
editor opens the directory, a definition when the next run begins. What runs because a person runs it (a Makefile,
a script of package.json, a test, a workflow) is the work of an Expert like any other.
"""

from __future__ import annotations

import os
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from ._value import Value

KEPT = (
    ".aider.conf.yml",
    ".bash_profile",
    ".bashrc",
    ".claude",
    ".codex",
    ".cursor",
    ".devcontainer",
    ".envrc",
    ".gemini",
    ".git/config",
    ".git/config.worktree",
    ".gitconfig",
    ".githooks",
    ".gitmodules",
    ".hg/hgrc",
    ".husky",
    ".idea",
    ".jj/repo/config.toml",
    ".kiro",
    ".mcp.json",
    ".mise.toml",
    ".npmrc",
    ".opencode",
    ".pnpmfile.cjs",
    ".pre-commit-config.yaml",
    ".profile",
    ".yarnrc.yml",
    ".zed",
    ".zprofile",
    ".zshenv",
    ".zshrc",
    "lefthook.yml",
    "mise.toml",
    "opencode.json",
)
"""At the top of a workspace: what some program of the user's runs or obeys unasked."""

HELD = (
    ".git",
    ".git/commondir",
    ".git/hooks",
    ".git/info",
    ".git/modules",
    ".git/worktrees",
    ".vscode",
    "perstack",
)
"""The same, and where one is not there a harmless one holds its place as long as walls stand, if the directory it
belongs to is there. git believes `.git/commondir` where to find its settings, and so its hooks."""

DEFINITIONS = "perstack.toml"
LOCK = "perstack.lock"
"""What the next run obeys. The first is held as well: a lock without definitions beside it is not looked at."""

PYTHON = os.path.realpath(sys.executable)
"""The interpreter that runs us, where it really lies: a link on the way could be turned later."""

How = Literal["keep", "open", "hide"]


class Keeping(NamedTuple):
    """How one place is kept.

    how: "keep" can be read; "open" can be written in, but neither moved nor replaced; "hide" can be neither read
    nor written. held: while walls stand something harmless is there if nothing is.
    """

    how: How
    held: bool = False


class Place(Value, frozen=True):
    """What a run is about. All paths are absolute and without links.

    hidden: histories and the runtime's own files. keys: files that keys are read from. starts: directories in
    which definitions are looked for. drafts: definitions are what this run is about, and may be written. read:
    what the user lets skills read besides.
    """

    workspace: str
    hidden: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    drafts: bool = False
    read: tuple[str, ...] = ()


@lru_cache(maxsize=64)
def kept_in(place: Place, own: tuple[str, ...] = ()) -> dict[str, Keeping]:
    """The places in the workspace of `place` that are kept, by path; what lies in a directory comes after it.

    own: what the runtime is made of, see `own_places`.
    """
    root = place.workspace
    found = {f"{root}/{name}": Keeping("keep") for name in KEPT}
    found |= {f"{root}/{name}": Keeping("keep", held=True) for name in HELD}
    found[f"{root}/.git"] = Keeping("open", held=True)
    if not place.drafts:
        for start in (root, *place.starts):
            found[f"{start}/{DEFINITIONS}"] = Keeping("keep", held=True)
            found[f"{start}/{LOCK}"] = Keeping("keep")
    found |= dict.fromkeys(own, Keeping("keep"))
    found |= dict.fromkeys(place.hidden, Keeping("hide"))
    found |= dict.fromkeys(place.keys, Keeping("hide", held=True))
    found[f"{root}/perstack"] = found[f"{root}/perstack"]._replace(held=True)
    inside = {p: how for p, how in found.items() if is_below(p, root) and p != root}
    for path in list(inside):  # what can be moved away takes along what is kept in it
        for parent in _between(root, path):
            inside.setdefault(parent, Keeping("open"))
    return dict(sorted(inside.items()))


@cache
def own_places() -> tuple[str, ...]:
    """What the runtime is made of. Who could write there would be let out with the runtime's next step."""
    package = Path(__file__).resolve().parent
    places = {os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix), str(package)}
    return tuple(sorted(places))


def is_below(path: str, directory: str) -> bool:
    """Whether `path` is `directory` or lies in it. Both are absolute and without links."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _between(root: str, path: str) -> list[str]:
    """The directories that `path` lies in, below `root`."""
    parts = path.removeprefix(root + "/").split("/")[:-1]
    return ["/".join((root, *parts[: at + 1])) for at in range(len(parts))]
