"""Whether a directory lies on a disk of this machine."""

from __future__ import annotations

import os
from functools import lru_cache

_OF_THIS_MACHINE = frozenset(
    {"btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"}
)


def is_local(fd: int) -> bool:
    """Whether the open directory is known to be on a disk of this machine; if that cannot be told, it is not."""
    device = os.fstat(fd).st_dev
    return _type_of(os.major(device), os.minor(device)) in _OF_THIS_MACHINE


@lru_cache(maxsize=64)
def _type_of(major: int, minor: int) -> str:
    """The file system type of a device, "" if it is not mounted, or this system has no such list."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                if left.split()[2] == f"{major}:{minor}":
                    return right.split()[0]
    except (OSError, IndexError):
        pass
    return ""
