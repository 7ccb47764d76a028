"""The base skill in this process: 17 tools over one workspace."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio.to_thread
import msgspec

from perstack import _kept
from perstack.errors import SkillUnavailable, ToolError
from perstack.job import Answer, Json, ResultPart, Text, TodoList, todo_answer, todos_after

from ..skill import Outcome, Skill, Tool
from ..wrapping import Wrap, unwrapped
from . import files
from .filesystem import is_local
from .paths import Workspace
from .shell import execute
from .tools import base_tools, checked

NAME = "@perstack/base"


@asynccontextmanager
async def open_base(
    workspace: Path,
    env: Mapping[str, str],
    *,
    given: Mapping[str, str] | None = None,
    wrap: Wrap = unwrapped,
    place: _kept.Place | None = None,
) -> AsyncGenerator[Skill]:
    """The base skill over `workspace`, which is held open until the block is left.

    env: the runtime's own environment, of which `exec` passes on what `clean_env` lets through. given: variables
    that every program gets besides, unless their names are protected.
    wrap: what `exec` starts instead of a program; a sandbox puts its launcher in front. place: what the run is
    about, and so what of the workspace is not the Expert's; None for what never is.
    Raises SkillUnavailable if the workspace is not a directory that can be opened.
    """
    try:
        held = Workspace(workspace, home=env.get("HOME") or "~", place=place)
    except OSError as fault:
        raise SkillUnavailable(NAME, f"workspace {workspace}: {fault.strerror}") from fault
    with held:
        yield _Base(held, env, given or {}, wrap)


class _Base:
    """The open skill. It keeps a todo list of its own, for callers that have no run to keep it in."""

    def __init__(
        self,
        workspace: Workspace,
        env: Mapping[str, str],
        given: Mapping[str, str],
        wrap: Wrap,
    ) -> None:
        self._workspace = workspace
        self._env = env
        self._given = given
        self._wrap = wrap
        self._todos = TodoList()
        self._began = time.monotonic()
        self._is_local = is_local(workspace.fd)

    @property
    def tools(self) -> tuple[Tool, ...]:
        return base_tools()

    async def use(
        self, tool: str, args: dict[str, Json], answers: Sequence[Answer] = ()
    ) -> Outcome:
        args = checked(tool, args)
        match tool:
            case "todo" | "clearTodo" | "attemptCompletion":
                self._todos = todos_after(self._todos, tool, args)
                return Outcome(parts=(Text(text=todo_answer(self._todos, tool)),))
            case "exec":
                timeout_ms = args.pop("timeout", 60_000)
                args["env"] = {**self._given, **args["env"]}
                told = await execute(
                    self._workspace, self._env, self._wrap, **args, timeout_ms=timeout_ms
                )
                if "error" in told:
                    told["error"] += self._workspace.why_kept(told["error"])
                return _told(told, is_error="error" in told)
            case "healthCheck":
                return _told(self._health())
            case _:
                work = _work(self._workspace, tool, args)
        try:
            # A disk of this machine answers sooner than a thread would. A file system somewhere else may take
            # long, and so may the bytes of an image: no other run is to wait for those.
            if self._is_local and tool not in _LONG:
                result = work()
            else:
                result = await anyio.to_thread.run_sync(work)
        except (ToolError, OSError) as fault:
            return _told({"error": "Error", "message": _sentence(fault)}, is_error=True)
        return Outcome(parts=result) if isinstance(result, tuple) else _told(result)

    def _health(self) -> dict[str, Json]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak_mib = peak // (1024 if os.uname().sysname == "Linux" else 1024 * 1024)
        return {
            "status": "ok",
            "workspace": self._workspace.root,
            "uptime": f"{int(time.monotonic() - self._began)}s",
            "memory": {
                "heapUsed": f"{_resident_mib() or peak_mib}MB",
                "heapTotal": f"{peak_mib}MB",
            },
            "pid": os.getpid(),
        }


def _work(
    workspace: Workspace, tool: str, args: dict[str, Json]
) -> Callable[[], dict[str, Json] | tuple[ResultPart, ...]]:
    """The blocking call that answers a file tool."""
    match tool:
        case "readTextFile":
            window = (args.get("from"), args.get("to"))
            return partial(files.read_text_file, workspace, args["path"], *window)
        case "writeTextFile":
            return partial(files.write_text_file, workspace, args["path"], args["text"])
        case "appendTextFile":
            return partial(files.append_text_file, workspace, args["path"], args["text"])
        case "editTextFile":
            texts = (args["newText"], args["oldText"])
            return partial(files.edit_text_file, workspace, args["path"], *texts)
        case "moveFile":
            return partial(files.move_file, workspace, args["source"], args["destination"])
        case "deleteDirectory":
            recursive = args.get("recursive", False)
            return partial(files.delete_directory, workspace, args["path"], recursive)
        case _:
            return partial(_BY_PATH[tool], workspace, args["path"])


_LONG = frozenset({"readImageFile", "readPdfFile", "deleteDirectory"})
"""The file tools whose work grows with what they find."""

_BY_PATH: Mapping[str, Callable[[Workspace, str], dict[str, Json] | tuple[ResultPart, ...]]] = {
    "getFileInfo": files.get_file_info,
    "readImageFile": files.read_image_file,
    "readPdfFile": files.read_pdf_file,
    "deleteFile": files.delete_file,
    "listDirectory": files.list_directory,
    "createDirectory": files.create_directory,
}


def _told(result: dict[str, Json], *, is_error: bool = False) -> Outcome:
    return Outcome(parts=(Text(text=msgspec.json.encode(result).decode()),), is_error=is_error)


def _sentence(fault: ToolError | OSError) -> str:
    if isinstance(fault, ToolError):
        return str(fault)
    name = errno.errorcode.get(fault.errno or 0, "EIO")
    return f"{name}: {(fault.strerror or str(fault)).lower()}"


def _resident_mib() -> int:
    """Memory this process has now, in MiB; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // (1024 * 1024)
