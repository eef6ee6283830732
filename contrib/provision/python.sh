#!/bin/sh
# Prints the Python that .venv is made from: the system's own first, because its headers are a package.
set -eu

for python in ${PYTHON:-} /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        command -v "$python"
        exit 0
    fi
done
echo "uringfs needs Python 3.11 or newer as python3" >&2
exit 1
