"""`perstack base`: the base skill as an MCP server."""

from __future__ import annotations

from pathlib import Path

import anyio
import click


@click.command()
@click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("."),
    show_default="working directory",
    help="The directory the file tools may reach.",
)
def base(workspace: Path) -> None:
    """Offer the tools of @perstack/base as an MCP server on standard input and output."""
    from perstack.skills.base.server import serve_stdio

    anyio.run(serve_stdio, workspace.resolve())
