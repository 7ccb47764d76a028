"""Which system calls a sandbox may make: seccomp filters as the bytes the kernel takes. Pure.

Two filters. The *baseline* holds for all of a sandbox, its first process included: no tracing, mounting, kernel
programs and modules, no new namespaces. The *strict* one holds for the payload besides: sockets are for IP only,
so there is nobody to talk to but whoever listens in the sandbox's own network.

A filter allows what it does not name. That is weaker than a list of what is allowed, and it is what keeps programs
working that nobody has tried here; what counts is that the calls which reach other processes, the kernel's inside
or other namespaces are named. A call made for another architecture ends the process.

The programs are classic BPF: instructions of (code, jump if true, jump if false, operand), 8 bytes each.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import Literal, get_args

Machine = Literal["x86_64", "aarch64"]
MACHINES: tuple[str, ...] = get_args(Machine)

_ARCH: dict[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_KILL = 0x8000_0000
_ALLOW = 0x7FFF_0000
_ERRNO = 0x0005_0000

# Offsets in struct seccomp_data: number, architecture, instruction pointer, six arguments of 64 bits
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45

_X32 = 0x4000_0000

_NEW_NAMESPACE = 0x7E02_0080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET and NEWTIME. The last is a part of the signal
number that `clone` takes in its lowest byte, which is there below 65 and so never has that bit."""

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_SEQPACKET, _SOCK_TYPE = 1, 5, 0xF
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PERSONAS = (0x0, 0x0004_0000, 0xFFFF_FFFF)
"""The usual one, that without randomised addresses (debuggers), and asking which it is."""

# Numbers of system calls: (x86_64, aarch64); None where there is none. From 424 on they are the same everywhere.
DENIED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    # the kernel itself
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "acct": (163, 89),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
    # the machine's clock and name
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_UNSHARE = {"x86_64": 272, "aarch64": 97}
_SOCKET = {"x86_64": 41, "aarch64": 198}
_SOCKETPAIR = {"x86_64": 53, "aarch64": 199}
_IOCTL = {"x86_64": 16, "aarch64": 29}
_PERSONALITY = {"x86_64": 135, "aarch64": 92}

Instruction = tuple[int, int, int, int]


def baseline(machine: Machine) -> bytes:
    """The filter for all of a sandbox."""
    return _encoded([*_head(machine), *_common(machine), (_RETURN, 0, 0, _ALLOW)])


def strict(machine: Machine) -> bytes:
    """The filter for the payload, which holds all of the baseline as well."""
    return _encoded(
        [*_head(machine), *_common(machine), *_sockets(machine), (_RETURN, 0, 0, _ALLOW)]
    )


def _encoded(program: Iterable[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _head(machine: Machine) -> list[Instruction]:
    """Leaves the number of the call loaded."""
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, _ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        program += [(_IF_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    return program


def _common(machine: Machine) -> list[Instruction]:
    column = MACHINES.index(machine)
    program: list[Instruction] = []
    for numbers in DENIED.values():
        if (number := numbers[column]) is not None:
            program += _when(number, [_no(errno.EPERM)])
    # Its arguments are in memory, where a filter cannot look. The C library falls back to clone.
    program += _when(_CLONE3, [_no(errno.ENOSYS)])
    for number in (_CLONE[machine], _UNSHARE[machine]):
        program += _when(
            number, [_argument(0), (_IF_ANY_BIT, 0, 1, _NEW_NAMESPACE), _no(errno.EPERM), _YES]
        )
    program += _when(
        _PERSONALITY[machine], [_argument(0), *_only(_PERSONAS), _no(errno.EPERM), _YES]
    )
    orders = [_argument(1), (_IF_EQUAL, 1, 0, _TIOCSTI), (_IF_EQUAL, 0, 1, _TIOCLINUX)]
    program += _when(_IOCTL[machine], [*orders, _no(errno.EPERM), _YES])
    return program


def _sockets(machine: Machine) -> list[Instruction]:
    families = _only((AF_INET, AF_INET6))
    program = _when(_SOCKET[machine], [_argument(0), *families, _no(errno.EPERM), _YES])
    # A pair is connected from the start; but one of datagrams can send to whom it likes all the same.
    pair = [_argument(0), *_only((AF_UNIX,)), _no(errno.EPERM)]
    pair += [_argument(1), (_AND, 0, 0, _SOCK_TYPE), *_only((_SOCK_STREAM, _SOCK_SEQPACKET))]
    return [*program, *_when(_SOCKETPAIR[machine], [*pair, _no(errno.EPERM), _YES])]


_YES: Instruction = (_RETURN, 0, 0, _ALLOW)


def _no(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _argument(index: int) -> Instruction:
    """The lower half, which is all the kernel looks at for what is an int."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _only(values: tuple[int, ...]) -> list[Instruction]:
    """Goes to the instruction after the next if the value loaded is one of `values`, else to the next."""
    last = len(values) - 1
    return [(_IF_EQUAL, last - at + 1, 0, value) for at, value in enumerate(values)]


def _when(number: int, then: list[Instruction]) -> list[Instruction]:
    """`then`, which must return, if the call loaded is `number`; else past it."""
    return [(_IF_EQUAL, 0, len(then), number), *then]
