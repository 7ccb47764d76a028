"""A new directory for what is tried out. It stays until somebody removes it."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

from perstack.errors import UserError


def scratch(prefix: str) -> Path:
    """An empty directory where temporary files lie here. Raises UserError."""
    try:
        return Path(mkdtemp(prefix=prefix)).resolve()
    except OSError as error:
        raise UserError(
            f"No temporary directory can be made: {error.strerror}. Free some space, or set TMPDIR to another "
            "place."
        ) from error
