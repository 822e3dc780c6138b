"""The smallest program of each architecture, which ends at once with 0: whether it runs tells whether the kernel runs its like.

Each is an ELF header, one program header and the call `exit(0)`; BuildKit's util/archutil does the same with assembled files.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["TINY", "tiny_program"]

_ADDRESS: Final = 0x10000
_EXEC, _LOAD, _READ_EXECUTE = 2, 1, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """`number` as ELF knows it (e_machine), `flags` likewise; `code` of `exit(0)`."""

    number: int
    code: bytes
    wide: bool = True
    big: bool = False
    flags: int = 0


_MACHINES: Final[Mapping[str, _Machine]] = {
    "amd64": _Machine(number=62, code=bytes.fromhex("31ff b83c000000 0f05")),  # xor edi,edi; mov eax,60; syscall
    "386": _Machine(number=3, code=bytes.fromhex("31db b801000000 cd80"), wide=False),  # xor ebx,ebx; mov eax,1; int 0x80
    "arm64": _Machine(number=183, code=struct.pack("<3I", 0xD2800000, 0xD2800BA8, 0xD4000001)),  # mov x0,0; mov x8,93; svc 0
    "arm": _Machine(number=40, code=struct.pack("<3I", 0xE3A00000, 0xE3A07001, 0xEF000000), wide=False, flags=0x05000200),
    "riscv64": _Machine(number=243, code=struct.pack("<3I", 0x00000513, 0x05D00893, 0x00000073)),  # li a0,0; li a7,93; ecall
    "ppc64le": _Machine(number=21, code=struct.pack("<3I", 0x38600000, 0x38000001, 0x44000002), flags=2),  # li r3,0; li r0,1; sc
    "s390x": _Machine(number=22, code=bytes.fromhex("a7290000 0a01"), big=True),  # lghi r2,0; svc 1
    "mips64": _Machine(number=8, code=struct.pack(">3I", 0x24040000, 0x240213C2, 0x0000000C), big=True, flags=0x60000000),
    "mips64le": _Machine(number=8, code=struct.pack("<3I", 0x24040000, 0x240213C2, 0x0000000C), flags=0x60000000),
}


def tiny_program(architecture: str) -> bytes:
    """The file. Raises KeyError for an architecture that has none."""
    return _file(_MACHINES[architecture])


TINY: Final = tuple(_MACHINES)
"""Architectures that have one."""


def _file(machine: _Machine) -> bytes:
    order = ">" if machine.big else "<"
    header, entry = (64, 56) if machine.wide else (52, 32)
    ident = b"\x7fELF" + bytes((2 if machine.wide else 1, 2 if machine.big else 1, 1)) + bytes(9)
    start, size = _ADDRESS + header + entry, header + entry + len(machine.code)
    word = "Q" if machine.wide else "I"
    numbers = (_EXEC, machine.number, 1, start, header, 0, machine.flags, header, entry, 1, 0, 0, 0)
    head = ident + struct.pack(f"{order}HHI3{word}I6H", *numbers)
    if machine.wide:
        load = struct.pack(f"{order}2I6Q", _LOAD, _READ_EXECUTE, 0, _ADDRESS, _ADDRESS, size, size, 0x10000)
    else:
        load = struct.pack(f"{order}8I", _LOAD, 0, _ADDRESS, _ADDRESS, size, size, _READ_EXECUTE, 0x10000)
    return head + load + machine.code
