#!/bin/sh
# Can a ring filesystem be mounted here? Asked before anything is built: each reason not to, and what to do.
set -eu

status=0
lacks() {
    echo "uringfs: $*" >&2
    status=1
}

release=$(uname -r)
major=${release%%.*}
minor=${release#*.}
minor=${minor%%[!0-9]*}
if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 6 ]; }; then
    lacks "this kernel is $release: Linux 6.6 or newer is needed"
fi
if [ "$(id -u)" != 0 ]; then
    unshare --user --map-root-user --mount true 2>/dev/null ||
        lacks "mounting takes root, or a user namespace, of which there is none for you: sudo make demo"
elif [ $(($(printf '%d' "0x$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)") >> 21 & 1)) = 0 ]; then
    lacks "root lacks CAP_SYS_ADMIN here (a container? --cap-add SYS_ADMIN --device /dev/fuse)"
fi
if [ ! -e /dev/fuse ]; then
    lacks "/dev/fuse does not exist: modprobe fuse; in a container: --device /dev/fuse"
elif ! (: <>/dev/fuse) 2>/dev/null; then
    lacks "/dev/fuse cannot be opened (mode 0666 elsewhere): sudo make demo; in a container: --device /dev/fuse"
fi
exit $status
