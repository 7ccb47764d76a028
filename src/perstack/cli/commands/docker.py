"""`perstack docker`: the images of the docker runtime."""

from __future__ import annotations

import os
from pathlib import Path

import click

from perstack.errors import UserError


@click.group()
def docker() -> None:
    """Look after the images of the docker runtime."""


@docker.command()
@click.option(
    "--whole",
    is_flag=True,
    help="For an image with everything in it: Perstack and the project beside it.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to this new file [default: print it].",
)
def init(whole: bool, output: Path | None) -> None:
    """Show the Dockerfile of the image that skills run in, to build one of your own from.

    Name the image in PERSTACK_DOCKER_IMAGE once it is built. PERSTACK_BASE_IMAGE says what it is built on.
    """
    from perstack.ops.walls.docker import dockerfile_for

    text = dockerfile_for(whole, os.environ)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(
            f"{output} is there already, and is not overwritten. Move it away, or name another --output."
        ) from error
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}.") from error
    name = "my-experts" if whole else "my-skills"
    click.echo(f"Wrote {output}. Build it with: docker build -t {name} -f {output} .", err=True)
    if not whole:
        click.echo(
            f"Then set PERSTACK_DOCKER_IMAGE={name}, and run with --runtime docker.", err=True
        )
