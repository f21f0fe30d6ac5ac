#!/bin/sh
# run.sh PROGRAM...: `make fuzz`. Runs libFuzzer's programs for FUZZ_SECONDS each (60),
# FUZZ_JOBS side by side (one a core); FUZZ=NAME runs NAME_fuzz alone. It begins with
# tests/fuzz/corpus/NAME and what earlier runs kept in fuzz/NAME; an input that fails is
# left in fuzz/, to be mended, and then kept in the corpus.
set -eu
: "${top_srcdir:?}" "${top_builddir:?}"

seconds=${FUZZ_SECONDS:-60}
found=$top_builddir/fuzz

# What begins a fuzzer's inputs, beside its corpus.
seeds()
{
    printf '%s\n' "$top_srcdir/tests/fuzz/corpus/$1"
    case $1 in
    sweepfile) printf '%s\n' "$top_srcdir/tests/sweepfile" "$top_srcdir/examples" ;;
    esac
}

# Bytes of an input: more is slower, and finds no more where a line is all there is.
longest()
{
    case $1 in
    event | expr | files | packet | parse | trial) echo 1000 ;;
    hdf5) echo 300 ;;
    *) echo 3000 ;;
    esac
}

one()
{
    name=$(basename "$1" _fuzz)
    log=$found/$name.log
    dict=$top_srcdir/tests/fuzz/dict/$name
    mkdir -p "$found/$name"
    test -f "$dict" || dict=
    status=0
    # shellcheck disable=SC2046
    "$1" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -max_len="$(longest "$name")" \
        -print_final_stats=1 -artifact_prefix="$found/$name-" ${dict:+-dict="$dict"} \
        "$found/$name" $(seeds "$name") >"$log" 2>&1 || status=$?
    inputs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
    speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    if test "$status" = 0; then
        echo "PASS: ${name}_fuzz - ${inputs:-0} inputs, ${speed:-0} a second"
        return
    fi
    echo "FAIL: ${name}_fuzz - after ${inputs:-?} inputs"
    grep -aE '^(SUMMARY|.*does not hold|.*runtime error|Test unit written to)' "$log" || :
    echo "the log: $log"
    echo "once more: $1 $(sed -n 's/.*Test unit written to //p' "$log")"
    return 1
}

if test "${1-}" = --one; then
    one "$2"
    exit
fi
for program in "$@"; do
    case ${FUZZ:+$(basename "$program" _fuzz)} in
    "${FUZZ-}") printf '%s\0' "$program" ;;
    esac
done | xargs -0 -n 1 -P "${FUZZ_JOBS:-$(nproc)}" "$0" --one
