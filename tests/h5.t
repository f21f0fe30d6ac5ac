#!/bin/sh
test_description='sweep.h5 as h5py, pandas and h5dump read it'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

for python in python3 /usr/bin/python3; do
    if "$python" -c 'import h5py, pandas, tables' 2>/dev/null; then
        test_set_prereq PANDAS
        break
    fi
done
command -v h5dump >/dev/null && test_set_prereq H5DUMP

test_expect_success 'a sweep, its journal and its sweep.h5' '
    mkdir sweep &&
    "$top_builddir/store/h5_sample" sweep >out &&
    grep " 0 mismatches" out
'

test_expect_success PANDAS 'h5py and pandas see what the journal says' '
    "$python" "$top_srcdir/tests/h5_read.py" sweep "$top_srcdir/doc/sweep-h5.md"
'

test_expect_success H5DUMP 'every byte of it can be read' '
    h5dump sweep/sweep.h5 >dump &&
    grep "DATASET \"metrics\"" dump &&
    ! grep -E "H5T_STD_[IU](64|16|8)|H5T_VLEN|H5T_ARRAY|H5T_ENUM|H5T_REFERENCE" dump
'

test_done
