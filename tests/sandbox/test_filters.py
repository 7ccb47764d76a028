"""The system call filters, carried out by hand as the kernel would."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import Literal

import pytest

from perstack.sandbox import filters
from perstack.sandbox.filters import MACHINES, Machine, baseline, strict
from tests.behaviour.register import proves

Verdict = Literal["allow", "kill"] | int

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NEW_USER, NEW_NET, SIGCHLD = 0x1000_0000, 0x4000_0000, 17
SOCKET = {"x86_64": 41, "aarch64": 198}
PAIR = {"x86_64": 53, "aarch64": 199}
CLONE = {"x86_64": 56, "aarch64": 220}
UNSHARE = {"x86_64": 272, "aarch64": 97}
IOCTL = {"x86_64": 16, "aarch64": 29}
PERSONALITY = {"x86_64": 135, "aarch64": 92}
WRITE = {"x86_64": 1, "aarch64": 64}


def verdict(program: bytes, machine: str, number: int, *arguments: int) -> Verdict:
    """What `program` says of a call. It must come to an end, and look nowhere else."""
    data = struct.pack("=IIQ6Q", number, ARCH[machine], 0, *(*arguments, *[0] * 6)[:6])
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at, loaded = 0, 0
    while True:
        kind, yes, no, operand = code[at]
        at += 1
        match kind:
            case 0x20:
                (loaded,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                loaded &= operand
            case 0x15:
                at += yes if loaded == operand else no
            case 0x35:
                at += yes if loaded >= operand else no
            case 0x45:
                at += yes if loaded & operand else no
            case 0x06 if operand == 0x7FFF_0000:
                return "allow"
            case 0x06 if operand == 0x8000_0000:
                return "kill"
            case 0x06 if operand & 0xFFFF_0000 == 0x0005_0000:
                return operand & 0xFFFF
            case _:
                raise AssertionError(f"instruction {kind:#x}")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("made", [baseline, strict])
@proves("walls.calls-refused")
def test_calls_that_reach_others_are_refused_and_ordinary_ones_are_not(
    machine: Machine, made: Callable[[Machine], bytes]
):
    program = made(machine)
    column = MACHINES.index(machine)
    for name, numbers in filters.DENIED.items():
        if (number := numbers[column]) is not None:
            assert verdict(program, machine, number) == errno.EPERM, name
    assert verdict(program, machine, 435) == errno.ENOSYS  # clone3
    assert verdict(program, machine, WRITE[machine]) == "allow"
    assert len(program) // 8 < 4096  # the kernel's limit


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_and_children_may_be_made_and_namespaces_not(machine: Machine):
    program = baseline(machine)
    thread = 0x3D0F00
    for flags in (SIGCHLD, thread, 0x4000 | 0x100 | SIGCHLD):
        assert verdict(program, machine, CLONE[machine], flags) == "allow"
    for flags in (NEW_USER | SIGCHLD, NEW_NET, 0x20000, 0x80):
        assert verdict(program, machine, CLONE[machine], flags) == errno.EPERM
        assert verdict(program, machine, UNSHARE[machine], flags) == errno.EPERM
    assert verdict(program, machine, UNSHARE[machine], 0x400) == "allow"  # own table of files


@pytest.mark.parametrize("machine", MACHINES)
def test_the_payload_talks_ip_and_to_its_own_pairs_only(machine: Machine):
    program = strict(machine)
    for family in range(46):
        said = verdict(program, machine, SOCKET[machine], family, 1)
        assert said == ("allow" if family in (2, 10) else errno.EPERM)
        assert verdict(baseline(machine), machine, SOCKET[machine], family, 1) == "allow"
    nonblocking_stream = 1 | 0o4000 | 0o2000000
    assert verdict(program, machine, PAIR[machine], 1, nonblocking_stream) == "allow"
    assert verdict(program, machine, PAIR[machine], 1, 2) == errno.EPERM
    for family in range(46):
        said = verdict(program, machine, PAIR[machine], family, 5)
        assert said == ("allow" if family == 1 else errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_is_typed_into_a_terminal_and_nobody_changes_persona(machine: Machine):
    program = baseline(machine)
    assert verdict(program, machine, IOCTL[machine], 0, 0x5412) == errno.EPERM
    assert verdict(program, machine, IOCTL[machine], 0, 0x541C) == errno.EPERM
    assert verdict(program, machine, IOCTL[machine], 0, 0x5413) == "allow"
    assert verdict(program, machine, PERSONALITY[machine], 0xFFFFFFFF) == "allow"
    assert verdict(program, machine, PERSONALITY[machine], 0x0008) == errno.EPERM


def test_calls_of_another_architecture_are_the_end():
    assert verdict(baseline("x86_64"), "aarch64", 64) == "kill"
    assert verdict(strict("aarch64"), "x86_64", 1) == "kill"
    assert verdict(strict("x86_64"), "x86_64", 0x4000_0000 + 1) == "kill"  # x32
