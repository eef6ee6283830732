#!/bin/sh
# make lint, of what is not Python: shell scripts, the style of C (.clang-format), and what gcc says of it. The analyzer
# looks at what runs for long; programs that test are there to end.
# shellcheck disable=SC2046  # names and flags without blanks
set -eu
cd "$(dirname "$0")/.."
bin=.venv/bin

"$bin/shellcheck" $(git ls-files '*.sh' .ci/run)
"$bin/clang-format" --dry-run --Werror $(git ls-files '*.[ch]')

includes=$("$bin/python" -c 'import sysconfig; print("-I" + sysconfig.get_path("include"))')
compile() { # flags; names on standard input
    while read -r source; do
        gcc -std=gnu11 -O2 -Wall -Wextra -Werror -c -o /dev/null -Icontrib "$includes" \
            $(pkg-config --cflags fuse3) "$@" "$source"
    done
}
git ls-files 'uringfs/*.c' | compile -fPIC -fanalyzer
git ls-files 'contrib/*.c' | compile -D_GNU_SOURCE -fanalyzer
git ls-files 'tests/*.c' | compile -D_GNU_SOURCE -Itests/conformance
