"""Three Linux calls that Python does not offer: openat2, renameat2 and statx.

Where the system has no such call there is another way: the walk of `paths`, a plain rename, no birth time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from functools import cache

_SYS_OPENAT2 = 437  # the same number on every architecture that got it in 2020
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_RENAME_NOREPLACE = 0x01
_STATX_BTIME = 0x0800
_STATX_BTIME_AT = 0x50  # struct statx: stx_btime = { s64 seconds, u32 nanoseconds }
_AT_SYMLINK_NOFOLLOW = 0x100


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def open_beneath(root: int, path: str, flags: int) -> int:
    """A descriptor for `path`, which never leaves the directory `root` on its way: not by `..`, not by a link.

    Raises OSError; EXDEV when it would leave, EAGAIN when something moved meanwhile.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    fd = int(
        _libc().syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(root),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return fd


@cache
def has_open_beneath() -> bool:
    """Whether `open_beneath` works here: Linux from 5.6 on, unless a seccomp filter forbids it."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return False
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(open_beneath(here, ".", os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return False
    finally:
        os.close(here)
    return True


def rename_new(source: str, source_dir: int, destination: str, destination_dir: int) -> None:
    """Rename, but never onto something that is there. Where the system cannot promise it, a plain rename.

    Raises OSError; FileExistsError when the destination exists.
    """
    renameat2 = getattr(_libc(), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is not None:
        done = renameat2(
            ctypes.c_int(source_dir),
            ctypes.c_char_p(os.fsencode(source)),
            ctypes.c_int(destination_dir),
            ctypes.c_char_p(os.fsencode(destination)),
            ctypes.c_uint(_RENAME_NOREPLACE),
        )
        if done == 0:
            return
        number = ctypes.get_errno()
        # ENOSYS: an old kernel; EINVAL: a file system without it (and the one case that fails again below)
        if number not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(number, os.strerror(number), source)
    os.rename(source, destination, src_dir_fd=source_dir, dst_dir_fd=destination_dir)


def birth_time(name: str, directory: int) -> float | None:
    """When the entry was created, in seconds; None where file system or kernel do not say."""
    statx = getattr(_libc(), "statx", None) if sys.platform == "linux" else None
    if statx is None:
        return None
    answer = ctypes.create_string_buffer(256)
    failed = statx(
        ctypes.c_int(directory),
        ctypes.c_char_p(os.fsencode(name)),
        ctypes.c_int(_AT_SYMLINK_NOFOLLOW),
        ctypes.c_uint(_STATX_BTIME),
        answer,
    )
    if failed or not struct.unpack_from("=I", answer)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", answer, _STATX_BTIME_AT)
    return seconds + nanoseconds / 1e9
