#!/bin/sh
test_description='what stands between a cmocka program and the TAP driver'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

cat >program <<'END'
#!/bin/sh
echo "1..3"
echo "ok 1 - good"
echo "not ok 2 # SKIP needs a GPU"
echo "not ok 3 - bad"
echo "CMOCKA_MESSAGE_OUTPUT=$CMOCKA_MESSAGE_OUTPUT" >&2
exit "$1"
END
chmod +x program
cat >expected <<'END'
1..3
ok 1 - good
ok 2 # SKIP needs a GPU
not ok 3 - bad
END

test_expect_success 'what is skipped has not failed, what has failed has' '
    "$top_srcdir/tests/cmocka.sh" ./program 0 >out 2>err &&
    test_cmp expected out &&
    grep "^CMOCKA_MESSAGE_OUTPUT=TAP$" err
'

test_expect_success 'the exit status is the program'"'"'s' '
    test_expect_code 3 "$top_srcdir/tests/cmocka.sh" ./program 3 &&
    test_expect_code 139 "$top_srcdir/tests/cmocka.sh" sh -c "kill -SEGV \$\$" &&
    test_expect_code 127 "$top_srcdir/tests/cmocka.sh" ./no-such-program
'

test_done
