"""The option that says where history is kept."""

from __future__ import annotations

import click

store_option = click.option(
    "--store",
    metavar="URL",
    help="Where jobs are kept: s3://bucket/prefix, or a directory [default: PERSTACK_STORAGE_URL, or else "
    "in the workspace].",
)
