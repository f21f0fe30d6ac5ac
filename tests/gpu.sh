#!/bin/sh
# gpu.sh TEST...: runs the tests of `make check-gpu`, one after another: what fails shows
# all that it printed. Exit status 0 if all passed, 77 if there is no GPU to test, else 1.
set -u
passed=0
failed=0
skipped=0
log=gpu-test.log

for test in "$@"; do
    "$test" >$log 2>&1
    case $? in
    0)
        if grep -q '^1\.\.0 # SKIP' $log; then
            skipped=$((skipped + 1))
            echo "SKIP: $test: $(sed -n 's/^1\.\.0 # SKIP *//p' $log)"
        else
            passed=$((passed + 1))
            echo "PASS: $test"
        fi
        ;;
    77)
        skipped=$((skipped + 1))
        echo "SKIP: $test: $(tail -n 1 $log)"
        ;;
    *)
        failed=$((failed + 1))
        cat $log
        echo "FAIL: $test"
        ;;
    esac
done
rm -f $log
echo "$passed passed, $failed failed, $skipped skipped"
test $failed = 0 || exit 1
test $skipped = 0 && exit 0
echo "NOTHING OF THE GPU WAS TESTED: there is none here, or not all was built." >&2
exit 77
