#!/bin/sh
test_description='includes keep to the tables of doc/architecture.md'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

layers=$top_srcdir/tests/layers.sh

test_expect_success 'the tree keeps to its rooms' '
    "$layers" "$top_srcdir"
'

# The rest is a test of the check itself, in a small tree under the real tables.
test_expect_success 'a tree to plant includes in' '
    mkdir -p tree/doc tree/base tree/sched tree/store tree/slurm tree/worker/agent \
        tree/worker/train tree/gpu tree/launcher tree/examples tree/python &&
    cp "$top_srcdir/doc/architecture.md" tree/doc/ &&
    echo "#include <stdio.h>" >tree/base/err.c &&
    echo "#include \"base/err.h\"" >tree/store/journal.h &&
    "$layers" tree
'

# refused FILE INCLUDE MESSAGE: in FILE, the check names INCLUDE, its line and why.
refused() {
    printf '/* a line before */\n#  include %s\n' "$2" >"tree/$1"
    "$layers" tree >out
    status=$?
    rm "tree/$1"
    cat out
    test "$status" = 1 && grep -qF "$1:2: $3" out
}

# allowed FILE INCLUDE: the check has nothing against it.
allowed() {
    echo "#include $2" >"tree/$1"
    "$layers" tree
    status=$?
    rm "tree/$1"
    return "$status"
}

test_expect_success 'rooms: only those in the row' '
    refused base/a.h "\"sched/space.h\"" "base/ may not include \"sched/space.h\"" &&
    refused sched/a.c "\"store/journal.h\"" "sched/ may not include" &&
    refused launcher/a.c "\"worker/train/net.h\"" "launcher/ may not include" &&
    allowed store/a.c "\"sched/space.h\"" &&
    allowed store/a.c "\"store/b.h\""
'

test_expect_success 'a header in a row is that header alone' '
    allowed worker/train/a.c "\"gpu/device.h\"" &&
    refused worker/train/a.c "\"gpu/kernel.h\"" "worker/train/ may not include"
'

test_expect_success 'a nested room is not its neighbour' '
    refused worker/agent/a.c "\"worker/train/net.h\"" "worker/agent/ may not include"
'

while read -r room library header; do
    test_expect_success "$library only where its row says" "
        allowed $room/a.c '<$header>' &&
        refused slurm/a.c '<$header>' 'slurm/ may not use $library: <$header>'
    "
done <<END
base xxHash xxhash.h
base Random123 Random123/philox.h
base zlib zlib.h
sched BLAS cblas.h
store HDF5 hdf5.h
worker/agent PCRE2 pcre2.h
worker/train MPI mpi.h
worker/train BLAS lapacke.h
gpu CUDA cuda_runtime.h
gpu CUDA cublas_v2.h
gpu CUDA nccl.h
launcher libyaml yaml.h
launcher ncurses curses.h
examples librung rung.h
END

test_expect_success 'cmocka in unit tests only' '
    allowed slurm/a_test.c "<cmocka.h>" &&
    refused slurm/a.c "<cmocka.h>" "slurm/ may not use cmocka"
'

test_expect_success 'strangers are refused: Slurm, PMI2, what no table knows' '
    refused slurm/a.c "<slurm/slurm.h>" "<slurm/slurm.h> is of no library" &&
    refused worker/train/a.c "<slurm/pmi2.h>" "<slurm/pmi2.h> is of no library" &&
    refused base/a.c "<json-c/json.h>" "<json-c/json.h> is of no library"
'

test_expect_success 'the C library and the kernel are free' '
    allowed slurm/a.c "<stdlib.h>" &&
    allowed slurm/a.c "<sys/wait.h>" &&
    allowed slurm/a.c "<linux/limits.h>"
'

test_expect_success 'includes start at the top of the tree and name a file' '
    refused store/a.c "\"journal.h\"" "\"journal.h\" is in no room" &&
    refused store/a.c "\"../base/err.h\"" "\"../base/err.h\" is in no room" &&
    refused store/a.c "HEADER" "an include that cannot be checked" &&
    allowed store/a.c "\"config.h\""
'

test_expect_success 'a source outside of all rooms is refused' '
    echo "int x;" >tree/python/a.c &&
    test_expect_code 1 "$layers" tree >out &&
    rm tree/python/a.c &&
    grep "^python/a.c:1: this file is in no room" out
'

test_expect_success 'CUDA sources are read too; build directories are not' '
    refused gpu/a.cu "<mpi.h>" "gpu/ may not use MPI" &&
    for dir in build-x/base _build/sub rung-0.1.0/base "tests/trash directory.a"
    do
        mkdir -p "tree/$dir" && allowed "$dir/a.c" "<mpi.h>" || return 1
    done
'

test_expect_success 'without its tables or without sources the check fails' '
    mv tree/doc/architecture.md . &&
    test_expect_code 1 "$layers" tree &&
    mkdir -p empty/doc && cp architecture.md empty/doc/ &&
    test_expect_code 1 "$layers" empty
'

test_done
