#!/bin/bash
# `make demo`: mount, copy a real file through a ring, use a ring from the shell, unmount. Every command
# shown is the one that ran, every output its own. Anything that goes wrong ends it with status 1. Who is not root is
# root of namespaces of its own, which the mount is seen in.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || exec unshare --user --map-root-user --mount contrib/demo.sh

scratch=$(mktemp -d /tmp/uringfs-demo.XXXXXX)
mnt=$scratch/mnt
mkdir "$mnt"

say() { printf '\n== %s\n' "$*"; }
fail() { echo "demo: $*" >&2; exit 1; }
show() { # the command, then what it prints
    printf '$ %s\n' "$1"
    bash -c "$1" || fail "the command above failed"
}
mounted() { grep -q " $mnt fuse" /proc/self/mounts; }
daemons() { # process ids: who has the log file among its arguments ([l]: not this grep itself)
    grep -slzx "$scratch/[l]og" /proc/[0-9]*/cmdline | cut -d/ -f3 || true
}

cleanup() {
    status=$?
    if mounted; then umount -l "$mnt"; fi
    left=$(daemons)
    # shellcheck disable=SC2086  # a list of process ids
    if [ -n "$left" ]; then kill $left; fi
    if [ $status != 0 ] && [ -s "$scratch/log" ]; then sed 's/^/daemon: /' "$scratch/log" >&2; fi
    rm -rf "$scratch"
}
trap cleanup EXIT

say "Mount: every file in $mnt is an io_uring"
show ".venv/bin/python mount.py $mnt --daemon --log-file $scratch/log"
mounted || fail "$mnt is not mounted"
grep -o 'backend .*' "$scratch/log"

say "Copy a real file (a compiler and a Python) through a ring of its own"
make -s -C contrib/examples
cat "$(cc -print-prog-name=cc1)" "$(readlink -f .venv/bin/python)" >"$scratch/source"
size=$(stat -c %s "$scratch/source")
[ "$size" -ge 20000000 ] || fail "the file to copy has only $size bytes"
show "time contrib/examples/uring-cp -r $mnt/new $scratch/source $scratch/copy"
show "sha256sum $scratch/source $scratch/copy"
cmp "$scratch/source" "$scratch/copy" || fail "the copy differs"
echo "$size bytes, the same"

say "A ring from the shell"
text=/etc/hostname
[ -s $text ] || text=/etc/os-release
cd "$mnt"
show "touch demo"
show "ls -l demo"
show "echo 'setup 8' > demo"
show "echo 'nop user_data=42' > demo"
show "echo 'readv path=$text len=64 user_data=43' > demo"
show "echo 'enter wait=2' > demo"
show "cat demo" | tee "$scratch/status"
grep -q 'user_data:42, res:0' "$scratch/status" || fail "no completion of the NOP"
grep -q 'Data:.*user_data:43' "$scratch/status" || fail "no data of the READV"
show "echo 'reap 2' > demo"
show "getfattr -d -m uring demo" | tee "$scratch/xattrs"
[ -s "$scratch/xattrs" ] || fail "no extended attributes"
show "rm demo"
cd - >/dev/null

say "Unmount"
show "umount $mnt"
if mounted; then fail "still mounted"; fi
for _ in $(seq 100); do
    [ -n "$(daemons)" ] || break
    sleep 0.1
done
[ -z "$(daemons)" ] || fail "the daemon is still there"
echo "nothing mounted, no daemon left"
