#!/bin/sh
# Installs the system packages of the groups named: base, containers, programs, lint, documents, security, bench.
# Only what is missing; where it cannot install (not root, no apt) it says what is needed and fails.
set -eu

# group:Debian package:what proves it elsewhere:what to look for in another distribution
needs='
base:gcc:command cc:gcc
base:g++:command c++:g++
base:libc6-dev:archive libc.a:C library headers and its static archive (glibc-devel, glibc-static)
base:make:command make:make
base:pkg-config:command pkg-config:pkg-config (pkgconf)
base:fuse3:command fusermount3:fuse3
base:libfuse3-dev:pkgconfig fuse3:libfuse 3 with headers (fuse3-devel, fuse3-dev)
base:python3-venv:module ensurepip:python3 >= 3.11 with venv
base:python3-dev:python_h Python.h:python3 headers (python3-devel)
base:attr:command getfattr:attr
containers:podman:command podman:podman
containers:runc:command runc:runc
containers:busybox-static:command busybox:a static busybox (busybox-static)
containers:mmdebstrap:command mmdebstrap:mmdebstrap
containers:debian-archive-keyring:file /usr/share/keyrings/debian-archive-keyring.gpg:the keys of Debian (debian-archive-keyring)
containers:uidmap:command newuidmap:newuidmap (uidmap, shadow)
programs:fio:command fio:fio
programs:mariadb-server-core:command mariadbd:the MariaDB server (mariadb-server)
programs:mariadb-client-core:command mariadb:the MariaDB client (mariadb)
programs:qemu-utils:command qemu-img:qemu-img
programs:rsync:command rsync:rsync
programs:tmux:command tmux:tmux
programs:liburing-dev:pkgconfig liburing:liburing with headers (liburing-devel)
programs:musl-tools:command musl-gcc:musl-gcc (musl-tools, musl-dev)
lint:liburing-dev:pkgconfig liburing:liburing with headers (liburing-devel)
documents:systemd:command systemd-analyze:systemd
documents:mandoc:command mandoc:mandoc
documents:zsh:command zsh:zsh
documents:fish:command fish:fish
security:libcap2-bin:command setcap:setcap (libcap2-bin, libcap)
security:util-linux:command setpriv:util-linux
security:mount:command losetup:losetup and mount (util-linux)
security:e2fsprogs:command mkfs.ext4:mkfs.ext4 (e2fsprogs)
bench:util-linux:command taskset:util-linux
bench:fio:command fio:fio
'
# Absent on some releases: the benchmark then leaves that column out and says so.
optional='bench:runsc'

here=$(dirname "$0")

wanted() { # lines of the groups asked for
    for group in "$@"; do
        printf '%s\n' "$needs" | grep "^$group:" || {
            echo "packages.sh: no such group: $group" >&2
            return 2
        }
    done
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

known() { # an installable candidate in apt's lists
    LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'
}

debian_like() {
    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null
}

proven() { # kind argument
    case $1 in
    command) command -v "$2" >/dev/null || [ -x "/usr/sbin/$2" ] || [ -x "/sbin/$2" ] ;;
    file) [ -e "$2" ] ;;
    archive) [ -e "$(cc -print-file-name="$2" 2>/dev/null)" ] ;;
    pkgconfig) pkg-config --exists "$2" 2>/dev/null ;;
    module) python=$("$here/python.sh" 2>/dev/null) && "$python" -c "import $2" 2>/dev/null ;;
    python_h) python=$("$here/python.sh" 2>/dev/null) &&
        "$python" -c "import os, sys, sysconfig as s; sys.exit(not os.path.exists(s.get_path('include') + '/$2'))" ;;
    esac
}

install_debian() {
    missing=
    for package in $(wanted "$@" | cut -d: -f2); do
        installed "$package" || missing="$missing $package"
    done
    extras=
    for group in "$@"; do
        for entry in $optional; do
            [ "${entry%%:*}" = "$group" ] || continue
            installed "${entry#*:}" || extras="$extras ${entry#*:}"
        done
    done
    [ -n "$missing$extras" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        [ -n "$missing" ] || return 0
        echo "uringfs needs packages that are not installed; as root:" >&2
        echo "    apt-get install --no-install-recommends$missing" >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    first=${missing:-$extras}
    for package in $first; do
        known "$package" || { apt-get -qq update; break; }
    done
    for package in $extras; do
        if known "$package"; then missing="$missing $package"; fi
    done
    [ -n "$missing" ] || return 0
    echo "installing:$missing"
    # shellcheck disable=SC2086  # a list of words
    install_now $missing
    # a name that apt does not know it may take for a pattern (g++), and succeed
    for package in $missing; do
        installed "$package" || {
            echo "uringfs: apt-get has not installed $package (are apt's sources and lists as they should be?)" >&2
            return 1
        }
    done
}

install_now() { # stale lists name versions that are gone from the mirror: once more with fresh ones
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null && return 0
    apt-get -qq update
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

check_elsewhere() {
    lacking=$(wanted "$@" | while IFS=: read -r _ _ proof name; do
        # shellcheck disable=SC2086  # kind and argument
        proven $proof || printf '    %s\n' "$name"
    done)
    [ -n "$lacking" ] || return 0
    echo "uringfs needs, and this system lacks (it is installed by itself on Debian and Ubuntu only):" >&2
    printf '%s\n' "$lacking" >&2
    return 1
}

[ $# -gt 0 ] || set -- base
wanted "$@" >/dev/null
if debian_like; then
    install_debian "$@"
else
    check_elsewhere "$@"
fi
