"""The programs of other vendors: one row for each, with how it is asked and what it is given.

The query goes to the standard input of each: an argument would show up in the list of processes. Of the
environment a program gets what any process of ours gets, and the names in its row.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from perstack.definition import RuntimeName

from .said import Parser, claude_said, cursor_said, gemini_said


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """One program.

    title: what people call it. absent: what they are told if it is not there. argv: from the Expert's instruction
    and a model, "" for the program's own choice.
    instructed: the instruction is among the arguments, not before the query; heading: what stands before it there.
    passes: variables it is given. signs_in, sign_in_file: one of these variables, or the file below the home
    directory, says that it can sign in; without any it finds out itself.
    """

    name: RuntimeName
    title: str
    absent: str
    program: str
    parse: Parser
    argv: Callable[[str, str], tuple[str, ...]]
    passes: tuple[str, ...]
    help_url: str
    auth_url: str = ""
    instructed: bool = False
    heading: str = ""
    signs_in: tuple[str, ...] = ()
    sign_in_file: str = ""


_LOGIN = ("USER", "LOGNAME", "XDG_CONFIG_HOME")


def _claude(instruction: str, model: str) -> tuple[str, ...]:
    told = ("--append-system-prompt", instruction) if instruction else ()
    return ("-p", "--output-format", "stream-json", "--verbose", *told, *_model(model))


def _gemini(_: str, model: str) -> tuple[str, ...]:
    return ("--output-format", "stream-json", *_model(model))


def _cursor(_: str, model: str) -> tuple[str, ...]:
    streamed = ("--output-format", "stream-json", "--stream-partial-output")
    return ("--print", *streamed, "--force", *_model(model))


def _model(model: str) -> tuple[str, ...]:
    return ("--model", model) if model else ()


VENDORS: dict[RuntimeName, Vendor] = {
    row.name: row
    for row in (
        Vendor(
            name="claude-code",
            title="Claude Code CLI",
            absent="Claude Code CLI is not installed.",
            program="claude",
            parse=claude_said,
            argv=_claude,
            instructed=True,
            passes=(
                "ANTHROPIC_API_KEY",
                "ANTHROPIC_AUTH_TOKEN",
                "ANTHROPIC_BASE_URL",
                "CLAUDE_CODE_OAUTH_TOKEN",
                "CLAUDE_CONFIG_DIR",
                *_LOGIN,
            ),
            help_url="https://docs.anthropic.com/en/docs/claude-code",
        ),
        Vendor(
            name="gemini",
            title="Gemini CLI",
            absent="Gemini CLI is not installed.",
            program="gemini",
            parse=gemini_said,
            argv=_gemini,
            heading="## Instructions\n",
            passes=(
                "GEMINI_API_KEY",
                "GOOGLE_API_KEY",
                "GOOGLE_APPLICATION_CREDENTIALS",
                "GOOGLE_CLOUD_LOCATION",
                "GOOGLE_CLOUD_PROJECT",
                "GOOGLE_GENAI_USE_VERTEXAI",
                *_LOGIN,
            ),
            help_url="https://github.com/google-gemini/gemini-cli",
            auth_url="https://github.com/google-gemini/gemini-cli#authentication",
            signs_in=("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"),
            sign_in_file=".gemini/oauth_creds.json",
        ),
        Vendor(
            name="cursor",
            title="Cursor CLI",
            absent="Cursor CLI (cursor-agent) is not installed.",
            program="cursor-agent",
            parse=cursor_said,
            argv=_cursor,
            passes=("CURSOR_API_KEY", *_LOGIN),
            help_url="https://docs.cursor.com/context/rules",
        ),
    )
}


def prompt_of(vendor: Vendor, instruction: str, query: str) -> str:
    """What the program reads from its standard input."""
    if vendor.instructed or not instruction:
        return query
    return f"{vendor.heading}{instruction}\n\n## User Request\n{query}"
