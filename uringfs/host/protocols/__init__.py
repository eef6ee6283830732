"""The interfaces between requests and the process that entered the ring.

Every method raises UringError with the errno the kernel would give. Addresses and sizes are bytes.
"""

from uringfs.host.protocols.caller import (
    INFINITY,
    Actor,
    Caller,
    EventFd,
    Fault,
    File,
    InCall,
    Listener,
    Name,
    Out,
    PathOpener,
    Program,
)
from uringfs.host.protocols.host import (
    Children,
    Host,
    Opener,
    Poller,
    Timer,
    Timers,
    Watch,
    WatchInThread,
)
from uringfs.host.protocols.memory import (
    Data,
    DataToEnd,
    Iovec,
    Memory,
)
from uringfs.host.protocols.messages import (
    Channel,
    Notification,
)

__all__ = [
    "INFINITY",
    "Actor",
    "Caller",
    "Channel",
    "Children",
    "Data",
    "DataToEnd",
    "EventFd",
    "Fault",
    "File",
    "Host",
    "InCall",
    "Iovec",
    "Listener",
    "Memory",
    "Name",
    "Notification",
    "Opener",
    "Out",
    "PathOpener",
    "Poller",
    "Program",
    "Timer",
    "Timers",
    "Watch",
    "WatchInThread",
]
