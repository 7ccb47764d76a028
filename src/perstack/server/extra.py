"""What a server needs beyond the plain install, and what to say where it is missing."""

from __future__ import annotations

from importlib.util import find_spec

from perstack.errors import UserError

SERVING = ("jinja2", "jwt", "markdown_it", "nh3", "uvicorn")
POSTGRES = ("psycopg", "psycopg_pool")


def need(*modules: str) -> None:
    """Raises UserError if one of these cannot be imported."""
    if missing := [name for name in modules if find_spec(name) is None]:
        raise UserError(
            f"A registry server needs more packages ({', '.join(missing)}): pip install 'perstack[server]'"
        )
