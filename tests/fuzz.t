#!/bin/sh
test_description='fuzzers play the inputs that are kept; `make fuzz` finds new ones'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# plays NAME FILE...: shows the end of what it said where something does not hold.
plays() {
    program=$top_builddir/tests/fuzz/$1_fuzz && shift
    test "$#" -gt 1 && "$program" "$@" >played 2>&1 && return
    tail -n 20 played
    return 1
}

for corpus in "$top_srcdir"/tests/fuzz/corpus/*; do
    name=${corpus##*/}
    if ! test -x "$top_builddir/tests/fuzz/${name}_fuzz"; then
        test_expect_success "$name" 'test "$name" = data || test "$name" = hdf5'
        continue
    fi
    test_expect_success "$name" 'plays "$name" "$corpus"/*'
done

test_expect_success 'wrong sweep files' 'plays sweepfile "$top_srcdir"/tests/sweepfile/*.yaml'
test_expect_success 'good sweep files' '
    plays sweepfile "$top_srcdir"/tests/sweepfile/good/*.yaml "$top_srcdir"/examples/*.yaml
'

test_done
