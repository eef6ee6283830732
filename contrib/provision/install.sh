#!/bin/sh
# make install: install.sh [--remove] PREFIX. The package in a venv of its own, PREFIX/lib/uringfs; of it the command,
# the header, its pkg-config file, the manual, completions and the mount helper (in /sbin, where mount(8) looks, if
# PREFIX is the system's).
set -eu
cd "$(dirname "$0")/../.."

remove=
if [ "$1" = --remove ]; then
    remove=1
    shift
fi
prefix=$1
home=$prefix/lib/uringfs
case $prefix in
/usr | /usr/local) sbin=/sbin ;;
*) sbin=$prefix/sbin ;;
esac
units=$prefix/lib/systemd/system

documents() { # the manual and completions, below share/ in both places
    (cd "$home/share" && find man bash-completion zsh fish -type f) 2>/dev/null
}

if [ -n "$remove" ]; then
    for file in $(documents); do rm -f "$prefix/share/$file"; done
    rm -rf "$home"
    rm -f "$prefix/bin/uringfs" "$sbin/mount.fuse.uringfs" "$prefix/include/uringfs.h" \
        "$prefix/include/uringfs_lane.h" "$prefix/lib/pkgconfig/uringfs.pc"
    for unit in contrib/systemd/*; do rm -f "$units/${unit##*/}"; done
    for header in contrib/lane/*.h; do rm -f "$prefix/include/lane/${header##*/}"; done
    rmdir "$prefix/include/lane" 2>/dev/null || true
    exit 0
fi

rm -rf build # of other times, with modules that may be gone
python=$(contrib/provision/python.sh)
mkdir -p "$prefix/bin" "$prefix/include" "$prefix/lib/pkgconfig" "$sbin" "$units"
"$python" -m venv --clear "$home"
"$home/bin/python" -m pip install -q --disable-pip-version-check 'setuptools>=77'
"$home/bin/python" -m pip install -q --disable-pip-version-check .
ln -sf "$home/bin/uringfs" "$prefix/bin/uringfs"
ln -sf "$home/bin/mount.fuse.uringfs" "$sbin/mount.fuse.uringfs"
mkdir -p "$prefix/include/lane"
install -m 644 contrib/uringfs.h contrib/uringfs_lane.h "$prefix/include"
install -m 644 contrib/lane/*.h "$prefix/include/lane"
for file in $(documents); do install -D -m 644 "$home/share/$file" "$prefix/share/$file"; done
sed "s|^includedir=.*|includedir=$prefix/include|" contrib/uringfs.pc >"$prefix/lib/pkgconfig/uringfs.pc"
for unit in contrib/systemd/*; do sed "s|/usr/local/bin|$prefix/bin|" "$unit" >"$units/${unit##*/}"; done
"$prefix/bin/uringfs" --version
echo "installed below $prefix; the mount helper is $sbin/mount.fuse.uringfs"
