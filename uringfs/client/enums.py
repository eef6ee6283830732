"""io_uring's names as Python enums, made from the tables in uringfs/abi.

Members are named as in the kernel header, without the prefix: Op.READ, SetupFlag.SQE128, SqeFlag.IO_LINK.
enums.pyi lists them for type checkers and editors: it is what stub() makes, and a test keeps it so.
"""

from enum import IntEnum, IntFlag
from types import ModuleType

from uringfs.abi import constants, events, net


def _bits(names: list[str]) -> dict[str, int]:
    return {name: 1 << bit for bit, name in enumerate(names)}


def _named(prefix: str, *modules: ModuleType) -> dict[str, int]:
    """The constants whose names begin so, those of one bit."""
    found = {
        name.removeprefix(prefix): value for m in modules for name, value in vars(m).items() if prefix in name
    }
    bits = {name: value for name, value in found.items() if isinstance(value, int) and value.bit_count() == 1}
    return {name if name.isidentifier() else f"F_{name}": value for name, value in bits.items() if value > 0}


def _code(name: str) -> str:
    """REGISTER_FILES: Register.FILES; UNREGISTER_FILES keeps its name."""
    return name.removeprefix("REGISTER_")


Op = IntEnum("Op", {name: number for number, name in enumerate(constants.OPCODES)})
Register = IntEnum("Register", {_code(name): number for number, name in enumerate(constants.REGISTER_OPCODES)})
SetupFlag = IntFlag("SetupFlag", _bits(constants.SETUP_FLAGS))
SqeFlag = IntFlag("SqeFlag", _bits(constants.SQE_FLAGS))
EnterFlag = IntFlag("EnterFlag", _bits(constants.ENTER_FLAGS))
Feature = IntFlag("Feature", _bits(constants.FEATURES))
CqeFlag = IntFlag("CqeFlag", _named("IORING_CQE_F_", constants))
NopFlag = IntFlag("NopFlag", _named("IORING_NOP_", constants))
RwFlag = IntFlag("RwFlag", _named("RWF_", constants))
TimeoutFlag = IntFlag("TimeoutFlag", _named("IORING_TIMEOUT_", events))
CancelFlag = IntFlag("CancelFlag", _named("IORING_ASYNC_CANCEL_", events))
PollFlag = IntFlag("PollFlag", _named("IORING_POLL_", events))
MsgRingFlag = IntFlag("MsgRingFlag", _named("IORING_MSG_RING_", events))
AcceptFlag = IntFlag("AcceptFlag", _named("IORING_ACCEPT_", net))

ENUMS = (
    *(Op, Register, SetupFlag, SqeFlag, EnterFlag, Feature, CqeFlag, NopFlag, RwFlag),
    *(TimeoutFlag, CancelFlag, PollFlag, MsgRingFlag, AcceptFlag),
)
for _enum in ENUMS:
    _enum.__module__ = __name__  # so that members can be pickled


def stub() -> str:
    """enums.pyi"""
    blocks = ['"""What uringfs/client/enums.py makes from the tables: the result of its stub()."""\n']
    blocks.append("from enum import IntEnum, IntFlag\n")
    for enum in ENUMS:
        base = "IntFlag" if issubclass(enum, IntFlag) else "IntEnum"
        lines = [f"    {member.name} = {member.value}" for member in enum.__members__.values()]
        blocks.append("\n".join([f"class {enum.__name__}({base}):", *lines, ""]))
    blocks.append("ENUMS: tuple[type[IntEnum] | type[IntFlag], ...]\n\ndef stub() -> str: ...\n")
    return "\n".join(blocks)
