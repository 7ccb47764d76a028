"""Projects and programs that use a registry."""

from __future__ import annotations

from pathlib import Path

from .program import Ran, perstack


class Author:
    """Somebody with a project and a key, who uses the command line."""

    def __init__(self, place: Path, env: dict[str, str]) -> None:
        self.place = place
        own = {
            "HOME": str(place),
            "PERSTACK_CACHE_DIR": str(place / "cache"),
            "PERSTACK_OFFLINE": "",
        }
        self.env = {**env, **own}
        place.mkdir(parents=True, exist_ok=True)

    @property
    def config(self) -> Path:
        return self.place / "perstack.toml"

    def writes(self, text: str) -> None:
        self.config.write_text(text)

    def __call__(self, *args: str) -> Ran:
        return perstack(*args, cwd=self.place, env=self.env)


def published(
    name: str, version: str = "1.0.0", *, delegates: tuple[str, ...] = (), more: str = ""
) -> str:
    """One Expert that can be published, as TOML."""
    listed = ", ".join(f'"{delegate}"' for delegate in delegates)
    return (
        f'[experts."{name}"]\nversion = "{version}"\ndescription = "Does {name}"\n'
        f'instruction = "Do it."\ndelegates = [{listed}]\n{more}\n'
    )
