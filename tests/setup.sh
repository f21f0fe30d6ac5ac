# Sourced by each tests/NAME.t, after it has set test_description:
#
#     test_description='what is tested here'
#     . "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
#
# Loads sharness, from Debian's package, and sets
#
#     top_srcdir    the source tree, absolute
#     top_builddir  the build tree, absolute; it is first on PATH, for rung
#
# make check says where both are; by hand, run a test from the build directory.
# What the commands of a test print goes to stderr: make check puts it into
# tests/NAME.log beside the results.
# shellcheck shell=sh

top_srcdir=$(cd "${top_srcdir:-$(dirname "$0")/..}" && pwd)
top_builddir=$(cd "${top_builddir:-.}" && pwd)
export top_srcdir top_builddir
# On a machine with Slurm, too, sweeps of tests that say nothing else run here.
RUNG_EXECUTOR=local
export RUNG_EXECUTOR
# A make in a test is no child of the make that runs the test.
unset MAKEFLAGS MFLAGS MAKELEVEL

if ! test -r /usr/share/sharness/sharness.sh; then
    echo '1..0 # SKIP sharness not found (Debian: apt-get install sharness)'
    exit 0
fi

# Test areas are made in the build tree; sharness leaves its own tally to us.
mkdir -p "$top_builddir/tests"
SHARNESS_TEST_DIRECTORY=$top_builddir/tests
SHARNESS_BUILD_DIRECTORY=$top_builddir
HARNESS_ACTIVE=1
export SHARNESS_TEST_DIRECTORY SHARNESS_BUILD_DIRECTORY HARNESS_ACTIVE
. /usr/share/sharness/sharness.sh
exec 3>&2 4>&2
