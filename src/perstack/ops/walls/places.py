"""Where a job works, and what of it is not the Expert's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import gettempdir

from msgspec.structs import replace

from perstack._kept import Place, is_below, kept_in, own_places
from perstack.errors import UserError
from perstack.store import FileStore, Store

from ..project import DEFAULT_ENV_FILES, Settings


def place_of(
    settings: Settings,
    workspace: Path,
    env: Mapping[str, str],
    store: Store | None,
    read: tuple[Path, ...] = (),
    cwd: Path | None = None,
    *,
    drafts: bool = False,
) -> Place:
    """`workplace` with what else may be read. Raises UserError if it cannot be walled."""
    root = os.path.realpath(workspace)
    home = _home(env)
    holds = next((name for name, at in _shared(home).items() if is_below(at, root)), None)
    if holds is not None:
        raise UserError(
            f"The workspace {root} holds {holds}, and all that is in it would be open to the Expert. "
            "Work in a directory of its own (--workspace), or accept no walls with --runtime local."
        )
    if "\n" in root:
        raise UserError(f"The workspace {root!r} has a line break in its name. Choose another.")
    history = f"{root}/perstack"
    if os.path.islink(history):
        raise UserError(
            f"{history} is a symbolic link, and cannot be hidden from the Expert. Move the directory there, or "
            "name the place of the history with --store."
        )
    place = workplace(settings, workspace, env, store, cwd, drafts=drafts)
    return replace(place, read=tuple(_readable(path, home) for path in read))


def workplace(
    settings: Settings,
    workspace: Path,
    env: Mapping[str, str],
    store: Store | None,
    cwd: Path | None = None,
    *,
    drafts: bool = False,
) -> Place:
    """Where a job works, and what of it is not the Expert's, whether or not there are walls."""
    root = os.path.realpath(workspace)
    home = _home(env)
    start = cwd or workspace
    named = DEFAULT_ENV_FILES if settings.env_paths is None else settings.env_paths
    keys = dict.fromkeys(
        (
            *(start / os.path.expanduser(name) for name in named),
            *(each / name for each in (workspace, start) for name in DEFAULT_ENV_FILES),
        )
    )
    hidden = [f"{root}/perstack"]
    for variable, usual in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
        hidden.append(f"{os.path.realpath(env.get(variable) or f'{home}/{usual}')}/perstack")
    if isinstance(store, FileStore):
        hidden.append(os.path.realpath(store.root))
    first = Path(os.path.realpath(start))
    starts = (str(each) for each in (first, *first.parents) if is_below(str(each), root))
    return Place(
        workspace=root,
        hidden=tuple(dict.fromkeys(hidden)),
        keys=tuple(dict.fromkeys(os.path.realpath(path) for path in keys)),
        starts=tuple(starts),
        drafts=drafts,
    )


def _home(env: Mapping[str, str]) -> str:
    return os.path.realpath(env.get("HOME") or Path.home())


def _shared(home: str) -> dict[str, str]:
    """Directories in which programs of the user keep what is not for others, by what they are called."""
    return {
        "your home directory": home,
        "the files of running programs": os.path.realpath(gettempdir()),
    }


def _readable(path: Path, home: str) -> str:
    if not path.exists():
        raise UserError(f"--read {path}: there is no such file or directory.")
    real = os.path.realpath(path)
    if is_below(home, real):
        raise UserError(f"--read {path} holds your home directory. Name what is needed of it.")
    return real


_SPELLINGS = (os.path.abspath, os.path.realpath)
"""Who can turn a link on the way decides what is found, wherever it leads now."""


def searched(place: Place) -> tuple[str, ...]:
    """What is to be said if the runtime looks for its own modules where the Expert writes."""
    closed = [path for path, kept in kept_in(place, own_places()).items() if kept.how == "keep"]
    open_to_it = [
        path
        for path in dict.fromkeys(at(each) for each in sys.path for at in _SPELLINGS)
        if is_below(path, place.workspace) and not any(is_below(path, each) for each in closed)
    ]
    if not open_to_it:
        return ()
    return (
        f"warning: Python looks for modules of the runtime in {', '.join(open_to_it)}, where the Expert may "
        "write: what it puts there can be run outside of the walls. Install Perstack by itself: "
        "uv tool install perstack",
    )
