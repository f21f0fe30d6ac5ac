#!/bin/sh
test_description='rung asktell decides as its written rules say'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# Debian's python3: another one on PATH may lack its packages.
/usr/bin/python3 -c 'import numpy' 2>/dev/null && test_set_prereq NUMPY

test_expect_success NUMPY 'as a naive scheduler does, in 40 random sweeps of each mode' '
    /usr/bin/python3 "$top_srcdir/tests/oracle.py" "$top_builddir/rung"
'

test_done
