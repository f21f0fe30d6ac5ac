#!/bin/sh
test_description='processes killed at any instant, disks that forget, lie and fail'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# One seed, so that what is found is found again; `make torture` takes others.
SEED=1

# torture WHAT...: see there.
torture()
{
    mkdir -p area && (cd area && /usr/bin/python3 "$top_srcdir/tests/torture.py" "$@")
}

if ! /usr/bin/python3 -c 'import h5py' 2>/dev/null; then
    skip_all='no h5py for /usr/bin/python3 (Debian: apt-get install python3-h5py)'
    test_done
fi
# What is preloaded would come before the sanitizers' own library.
if ! grep -q __asan_ "$top_builddir/librung_own.a"; then
    test_set_prereq PRELOAD
fi

test_expect_success 'a dozen kills at any instant' '
    torture kill 12 $SEED
'

test_expect_success PRELOAD 'power cuts: what was acted on is there' '
    torture cut 12 $SEED
'

test_expect_success PRELOAD 'each kind of sync that is left out is found out' '
    torture lie
'

test_expect_success PRELOAD 'a disk that fails stops the sweep, which says so and goes on' '
    torture fail
'

test_expect_success PRELOAD 'a clock that is set back by an hour changes nothing' '
    torture clock
'

test_done
