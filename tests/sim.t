#!/bin/sh
test_description='sweeps in a simulated world of faults'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

sim=$top_builddir/tests/sim/sim

# What was found once: a case a line, and what it was.
while read -r options; do
    case $options in
    '' | '#'*) continue ;;
    esac
    test_expect_success "as found before: ${options%%  #*}" "
        $sim --no-shrink ${options%%#*}
    "
done <"$top_srcdir/tests/sim/kept"

test_expect_success 'the same seed is the same world' '
    "$sim" --seed 7 --seeds 1 --loud >once && "$sim" --seed 7 --seeds 1 --loud >again &&
    grep -v "sweeps a minute" once >events && grep -v "sweeps a minute" again | cmp - events &&
    test $(wc -l <events) -gt 20
'

test_expect_success 'promises hold in 500 worlds' '
    "$sim" --seeds 500
'

test_done
