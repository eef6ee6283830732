#!/bin/sh
# wheel.sh DIR: a wheel and an sdist in DIR. The wheel's tag says for which C libraries it is: manylinux_2_34_x86_64 for
# glibc 2.34 and newer. libfuse3 is not packed into it: pyfuse3 has the system's, and there may be only one in a process.
set -eu
cd "$(dirname "$0")/../.."
dir=$1
python=${PYTHON:-.venv/bin/python}
bin=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

quietly() { # what a command says on its standard error output matters where it fails
    "$@" 2>"$made/said" || {
        cat "$made/said" >&2
        return 1
    }
}

mkdir -p "$dir"
rm -rf build # what a file that is gone by now has left there would be packed, too
quietly "$python" -W ignore setup.py -q sdist --dist-dir "$dir"
"$python" -m pip wheel -q --no-deps --no-build-isolation --wheel-dir "$made" .
PATH=$bin:$PATH quietly "$bin/auditwheel" repair --exclude 'libfuse3.so.*' --wheel-dir "$dir" "$made"/*.whl
