#!/bin/sh
test_description='the Python module'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

PYTHONPATH=$top_srcdir/python
PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH PYTHONDONTWRITEBYTECODE

# The one on PATH is the users'; the system's may be the one that has pandas and h5py.
for python in python3 /usr/bin/python3; do
    command -v "$python" >/dev/null || continue
    test "$(command -v "$python")" != "$tried" || continue
    tried=$(command -v "$python")
    test_expect_success "rung_test.py under $tried" '
        "$python" -W error::ResourceWarning -m unittest -v rung_test &&
        "$python" -m pydoc rung >page &&
        grep "checkpoint_dir()" page
    '
done

test_done
