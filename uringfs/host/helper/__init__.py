"""The programs that look up paths in a caller's name: a zygote and the processes it forks, one identity each.

They are run by host.zygote, outside of the daemon, and import nothing of uringfs but this package and
abi.machine: after
their start they import nothing at all, for their root may be a client's.
"""
