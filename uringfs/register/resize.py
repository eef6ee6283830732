"""IORING_REGISTER_RESIZE_RINGS: its argument; uringfs.ring.resize does it."""

from uringfs.abi.structs import PARAMS, PARAMS_SIZE, Params
from uringfs.register.region import check_user_rings
from uringfs.register.registration import RegisterCall
from uringfs.ring.resize import check_resizable, new_geometry, resize


def resize_rings(call: RegisterCall) -> int:
    """io_register_resize_rings()"""
    call.need_one()
    ring = call.ring.ring
    check_resizable(ring)
    asked = Params._make(PARAMS.unpack_from(call.read(PARAMS_SIZE)))
    geometry = new_geometry(ring, asked)
    check_user_rings(call.caller, geometry, asked)
    answer = geometry.params(asked._replace(flags=geometry.flags))
    call.caller.memory.write(call.arg, answer)
    resize(ring, geometry)
    return 0
