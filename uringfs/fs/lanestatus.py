"""What `cat` and the xattrs of a ring show of its lane: whether clients take requests themselves, which, and how
many they have taken. docs/lane.md"""

from uringfs.abi.constants import OPCODES, SQE_FLAGS, flag_names
from uringfs.abi.lane import ATTENTION_NAMES, URINGFS_LANE_CLOSED, LaneCounters
from uringfs.engine.context import Context
from uringfs.engine.lane import RingLane


def counters(context: Context) -> LaneCounters:
    """What clients have done, beside what the daemon has."""
    lane = context.sharing.lane
    return LaneCounters() if lane is None else lane.counters()


def lines(context: Context) -> list[str]:
    """Nothing, until a client has attached."""
    sharing = context.sharing
    if sharing.lane is None:
        return ["Lane:\toff"] if sharing.off else []
    lane, taken, held = sharing.lane, sharing.lane.taken(), sharing.lane.under_way()
    counted = lane.counters()
    return [
        f"Lane:\t{_state(context)}",
        f"LaneOpcodes:\t{' '.join(_opcode(n) for n in range(64) if lane.ops >> n & 1)}",
        f"LaneProcesses:\t{len(lane.holders)}",
        f"LaneSubmitted:\t{counted.submitted} in {counted.enters} enters",
        f"LaneTaken:\t{sum(taken.values())}",
        *(f"  {_opcode(number)}: {count}" for number, count in taken.items()),
        f"LaneUnderWay:\t{len(held)}",
        *(
            f"  opcode:{_opcode(request.opcode)}, flags:{flag_names(SQE_FLAGS, request.flags)}, "
            f"process:{_process(lane, request.holder)}, user_data:{request.user_data}"
            for request in held
        ),
    ]


def is_on(context: Context) -> bool:
    """Clients have attached, and may take requests."""
    sharing = context.sharing
    return sharing.lane is not None and not sharing.attention() & URINGFS_LANE_CLOSED


def _state(context: Context) -> str:
    """on or off, and who has to hear of what happens, or keeps clients out."""
    attention = context.sharing.attention()
    names = [name for bit, name in ATTENTION_NAMES.items() if attention & bit]
    return " ".join(["on" if is_on(context) else "off", *names])


def _opcode(number: int) -> str:
    return OPCODES[number] if number < len(OPCODES) else "INVALID"


def _process(lane: RingLane, number: int) -> int:
    return lane.holders[number].program.tid
