"""The vendor directory: the documents of a lock beside the project file, so that nothing has to be fetched."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from perstack.errors import UserError
from perstack.lock import Lock
from perstack.registry import Cache, cache_place

from ..atomic import replace_file
from ..project import LoadedProject
from .shelf import VENDOR, Shelf

_NAME = re.compile(r"[0-9a-f]{64}\.json", re.ASCII)


def vendor_documents(loaded: LoadedProject, lock: Lock, env: Mapping[str, str]) -> tuple[Path, int]:
    """Put the documents of all published Experts in `lock` there, and take others away: (where, how many).

    env: process and dotenv files together. Raises UserError, RegistryTampered.
    """
    place = loaded.directory / VENDOR
    shelf = Shelf(Cache(cache_place(env)), place)
    wanted: dict[str, bytes] = {}
    for key, pin in lock.experts.items():
        if pin.origin is None:
            continue
        document = shelf.at_hand(pin.integrity)
        if document is None:
            raise UserError(f"The document of {key} is not in the cache. Run `perstack install`.")
        wanted[f"{pin.integrity.partition(':')[2]}.json"] = document
    try:
        if wanted:
            place.mkdir(exist_ok=True)
        for name, document in wanted.items():
            if not (place / name).exists():
                replace_file(place / name, document)
        for name in os.listdir(place) if place.is_dir() else ():
            if _NAME.fullmatch(name) and name not in wanted:
                (place / name).unlink()
    except OSError as error:
        raise UserError(f"{place} cannot be written: {error.strerror}.") from error
    return place, len(wanted)
