#!/bin/sh
# Makes .venv: the package itself (editable, its extension modules built in place), and, but for `venv.sh run`, tests
# and linters. Does nothing when its inputs are those of the last run.
set -eu
cd "$(dirname "$0")/../.."

venv=.venv
extras='[test,lint]'
[ "${1:-}" != run ] || extras=
python=$(contrib/provision/python.sh)

fingerprint() { # of files, and of what they are built with and where: a venv cannot be moved
    { echo "$PWD"; "$python" -VV; pkg-config --modversion fuse3; cat "$@"; } | sha256sum
}

unchanged() { # stamp, fingerprint
    [ -x $venv/bin/uringfs ] && [ "$(cat "$venv/$1" 2>/dev/null)" = "$2" ]
}

# Everything, when pyproject.toml changed: pip builds the extension module in place as well
dependencies=$(fingerprint pyproject.toml contrib/provision/venv.sh)
[ -z "$extras" ] || dependencies="$dependencies with tests"
module=$(fingerprint setup.py uringfs/native/*.[ch] uringfs/native/*/*.[ch] contrib/launcher/*.[ch] contrib/lane/*.h contrib/uringfs*.h)
if ! unchanged .dependencies "$dependencies" && ! unchanged .dependencies "$dependencies with tests"; then
    echo "making $venv with $python"
    "$python" -m venv --clear $venv
    $venv/bin/python -m pip install -q --disable-pip-version-check 'setuptools>=68'
    $venv/bin/python -m pip install -q --disable-pip-version-check -e ".$extras"
    echo "$dependencies" >$venv/.dependencies
    echo "$module" >$venv/.built
fi

# The extension module, when its sources changed or it is gone
suffix=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
if ! unchanged .built "$module" || ! [ -e "uringfs/native/_native$suffix" ] ||
    ! [ -e "uringfs/native/_trap$suffix" ] || ! [ -e "uringfs/_words$suffix" ]; then
    echo "building the extension modules and the launcher"
    $venv/bin/python -W ignore setup.py -q build_ext --inplace --force
    echo "$module" >$venv/.built
fi
