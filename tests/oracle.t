#!/bin/sh
test_description='rung asktell decides as its written rules say'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

command -v python3 >/dev/null && test_set_prereq PYTHON

test_expect_success PYTHON 'as a naive scheduler does, in 40 random sweeps of each mode' '
    python3 "$top_srcdir/tests/oracle.py" "$top_builddir/rung"
'

test_done
