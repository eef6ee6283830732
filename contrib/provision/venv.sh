#!/bin/sh
# Makes .venv: the package itself (editable, its extension module built in place), tests and linters.
# Does nothing when its inputs are those of the last run.
set -eu
cd "$(dirname "$0")/../.."

venv=.venv
python=$(contrib/provision/python.sh)

fingerprint() { # of files, and of what they are built with and where: a venv cannot be moved
    { echo "$PWD"; "$python" -VV; pkg-config --modversion fuse3; cat "$@"; } | sha256sum
}

unchanged() { # stamp, fingerprint
    [ -x $venv/bin/uringfs ] && [ "$(cat "$venv/$1" 2>/dev/null)" = "$2" ]
}

# The dependencies, when pyproject.toml changed
want=$(fingerprint pyproject.toml contrib/provision/venv.sh)
if ! unchanged .dependencies "$want"; then
    echo "making $venv with $python"
    "$python" -m venv --clear $venv
    $venv/bin/python -m pip install -q --disable-pip-version-check 'setuptools>=68'
    $venv/bin/python -m pip install -q --disable-pip-version-check -e '.[test,lint]'
    echo "$want" >$venv/.dependencies
    rm -f $venv/.built
fi

# The extension module, when its sources changed or it is gone
want=$(fingerprint setup.py uringfs/native/*.[ch])
suffix=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
if ! unchanged .built "$want" || ! [ -e "uringfs/native/_native$suffix" ]; then
    echo "building the extension module"
    $venv/bin/python setup.py -q build_ext --inplace --force
    echo "$want" >$venv/.built
fi
