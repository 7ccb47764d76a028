"""The options that say where history is kept."""

from __future__ import annotations

from pathlib import Path

import click

store_option = click.option(
    "--store",
    metavar="URL",
    help="Where jobs are kept: s3://bucket/prefix, or a directory [default: PERSTACK_STORAGE_URL, or else "
    "in the workspace].",
)

history_option = click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the jobs ran [default: PERSTACK_STORAGE_PATH, or else here].",
)
"""For commands that only look at jobs; `history_place` says what its default comes to."""
