#!/bin/sh
test_description='rung asktell decides as other schedulers did, in recorded sweeps of theirs'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# They are no part of the project: a directory with ray_stopping/ and paper_asha/.
traces=${RUNG_TRACES:-$top_srcdir/../shared/data/traces}
if ! test -d "$traces"; then
    skip_all="no traces: RUNG_TRACES names no directory of them"
    test_done
fi

# Debian's python3: another one on PATH may lack its packages.
/usr/bin/python3 -c '' 2>/dev/null && test_set_prereq PYTHON

PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE

test_expect_success PYTHON 'Ray Tune stops, and the ASHA paper promotes, the same trials' '
    /usr/bin/python3 "$top_srcdir/tests/traces.py" "$top_builddir/rung" "$traces"
'

test_done
