#!/bin/sh
test_description='who may come in, and what is carried through unharmed (doc/security.md)'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"
# shellcheck source=tests/sweeps.sh
. "$top_srcdir/tests/sweeps.sh"

if ! test -x "$top_builddir/rung"; then
    skip_all='rung is not built'
    test_done
fi

intruder=$top_builddir/tests/intruder
trials="python3 '$top_srcdir/tests/security.py'"
python3 -c '' 2>/dev/null && test_set_prereq PYTHON
test "$(id -u)" = 0 && setpriv --reuid=65534 --clear-groups true 2>/dev/null &&
    test_set_prereq ROOT

# as_nobody COMMAND...
as_nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

# bare FILE: no control character in it but line feeds and tabs.
bare() {
    ! LC_ALL=C grep -n "$(printf '[\001-\010\013-\037\177]')" "$1" &&
        ! LC_ALL=C grep -n "$(printf '\302[\200-\237]')" "$1"
}

# refused TEXT COMMAND...: it fails and says that.
refused() {
    text=$1 && shift
    ! "$@" >out 2>err && cat err && grep -F -e "$text" err && bare err
}

# running NAME: a sweep of two slots, whose trials wait at step 1.
running() {
    hold && sweep "$1" promote && begin "$1" --quiet &&
        reached "$1" 2 report
}

# over NAME: it goes on, to a good end.
over() {
    go && ended 0 && nothing_left "$1" && sound "$1"
}

# ---- what is carried through ----

cat >odd.yaml <<END
name: odd
command: $trials trial {esc} {a} --a={a} {hard} x{a}y
metric: loss
space:
  a: grid("--help", "-rf", "q'uote\\"s", "back\\\\slash", "two\\nlines", "\$(touch pwned)",
     "%s%n%d%99999999\$s", "\`id\`", ";ls|cat>x&", "a,b\\tc", "=1+1", "{trial}", "{{",
     "*", "~", "#x", "", " ", "é☃")
  esc: "\\e[31mred\\e[0m\\a\\x7f\\u009b31m\\u2028"
  hard: "%n'\\"\\\\\\n\$(id)"
search: {method: grid}
schedule: {max_t: 1}
slots: 2
END

test_expect_success PYTHON 'values that look like options, code, formats and terminal commands' '
    cat odd.yaml && rung check odd.yaml >check.out && cat check.out && bare check.out &&
    rung run --dir odd odd.yaml >run.out 2>run.err && cat run.err && bare run.out &&
    bare run.err && ! test -e pwned && ! test -e x &&
    rung export --csv --jsonl --hdf5 odd && eval "$trials read odd 19"
'

test_expect_success PYTHON 'none of them reaches the terminal' '
    rung best -n 19 odd >out && bare out && rung status odd >out && bare out &&
    for trial in 0 2 4; do
        rung show odd $trial >out && cat out && bare out || return 1
    done &&
    sound odd
'

test_expect_success 'NUL and control characters where they cannot be: refused' '
    for value in "lit\\\\0" "lit\\\\u0000"; do
        printf "command: true\nmetric: l\nspace: {b: \"$value\"}\nsearch: {trials: 1}\n" >nul.yaml &&
        echo "schedule: {max_t: 1}" >>nul.yaml && cat nul.yaml &&
        refused "cannot hold a NUL" rung check nul.yaml || return 1
    done &&
    printf "name: \"a\\\\e[2J\"\ncommand: true\nmetric: \"l\\\\a\"\n\"sp\\\\u009bce\": 1\n" >ctl.yaml &&
    refused "ctl.yaml:1:7: " rung check ctl.yaml &&
    refused "unknown option" rung best "--$(printf "\033[2J")" &&
    refused "there is no command" rung "$(printf "\033[2J")" &&
    refused "it does not exist" rung status "$(printf "\033[2J")"
'

test_expect_success 'names of metrics that would reach a terminal: refused' '
    echo "rung log step=1 loss=1 \"\$(printf \"a\\302\\233b\")=1\"" >names.sh && cat names.sh &&
    sweep_file names "sh names.sh" <<-END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 1}
	schedule: {max_t: 1}
	retry: {failures: 0}
	END
    ! run_sweep names && rung show names 0 >out && cat out && bare out &&
    grep "control character" out
'

# ---- names of files and directories ----

long=$(printf '%0250d' 0)
cat >quick.yaml <<\END
name: quick
command: rung log step=1 loss=1
metric: loss
space: {x: "uniform(0, 1)"}
search: {trials: 1}
schedule: {max_t: 1}
END

test_expect_success 'odd paths of sweeps and of sweep files' '
    mkdir sub &&
    for dir in sub/../up "a b" "$(printf "new\nline")" -rf "$long" "%s%n" "\$(id)"; do
        cp quick.yaml "./$dir.yml" &&
        rung run --quiet --dir "./$dir" "./$dir.yml" 2>err && cat err && sound "./$dir" || return 1
    done &&
    rung run --quiet --dir a/b/c// quick.yaml &&
    test -e up/sweep.yaml && test -e a/b/c/sweep.yaml
'

test_expect_success 'paths that cannot be: said in a sentence' '
    refused "File name too long" rung run --dir "x$long$long" quick.yaml &&
    refused "exists already" rung run --dir ./-rf quick.yaml &&
    refused "exists already" rung run --dir "$(printf "new\nline")" quick.yaml &&
    ln -s nowhere dangling && refused "exists already" rung run --dir dangling quick.yaml &&
    ! test -e nowhere && refused "is no directory" rung run --dir quick.yaml/below quick.yaml &&
    sed "s|^name:.*|name: ../up|" quick.yaml >name.yaml &&
    refused "name.yaml:1:7: " rung check name.yaml &&
    sed 1d quick.yaml >"$(printf "esc\033[2J.yaml")" &&
    rung run "$(printf "esc\033[2J.yaml")" 2>err && cat err && bare err
'

test_expect_success 'a directory deeper than a socket may be' '
    rung run --quiet --dir "deep/$long/$long" quick.yaml && sound "deep/$long/$long"
'

# ---- keys ----

test_expect_success 'keys that others can read, a directory that everybody may write' '
    running loose && kill -9 $controller && go && nobody_left loose &&
    for mode in "755 loose/keys" "644 loose/keys/agent.key" "757 loose"; do
        chmod $mode && refused "open to others: chmod" rung resume loose &&
        command=$(sed "s/.*open to others: //" err) && eval "$command" || return 1
    done &&
    mv loose/keys loose/kept && ln -s kept loose/keys && refused "loose/keys" rung resume loose &&
    rm loose/keys && mv loose/kept loose/keys
'

test_expect_success ROOT 'keys of another user' '
    chown 65534 loose/keys/agent.key && refused "belongs to user 65534" rung resume loose &&
    chown 0 loose/keys/agent.key && chown 65534 loose/keys &&
    refused "belongs to user 65534" rung resume loose && chown 0 loose/keys
'

test_expect_success 'mended, as the messages said, it goes on' '
    go && rung resume --quiet loose && sound loose
'

test_expect_success 'no key in a command line or an environment; programs inherit no file' '
    running secret && key=$(cat secret/keys/agent.key) && test ${#key} = 40 &&
    for pid in $controller $(pids secret); do
        ! grep -aF -e "$key" /proc/$pid/cmdline /proc/$pid/environ || return 1
    done &&
    for pid in $(pids secret); do
        grep -azx RUNG_TRIAL=0 /proc/$pid/environ >program || continue
        ls -l /proc/$pid/fd >fds && cat fds && ! grep -e socket: -e /keys -e /journal fds || return 1
    done &&
    over secret
'

# ---- who comes in ----

test_expect_success 'nonsense from somebody with the key: said once, and the sweep goes on' '
    running nonsense && "$intruder" nonsense nonsense && kill -0 $controller && over nonsense &&
    cat nonsense.err && bare nonsense.err &&
    test "$(grep -c "a packet was dropped" nonsense.err)" = 1 &&
    test "$(grep -c "says what cannot be read" nonsense.err)" -le 6 &&
    ! events nonsense job 2147483647
'

test_expect_success 'more strangers than descriptors: the sweep goes on' '
    hold && sweep crowd promote &&
    (ulimit -Sn 128 && exec rung run --quiet --dir crowd crowd.yaml 2>crowd.err) &
    controller=$! && reached crowd 2 report && mkfifo stay &&
    { "$intruder" crowd crowd 300 <stay >ready & } && exec 9>stay &&
    until_true "grep ready ready" && over crowd && exec 9>&- && cat crowd.err &&
    test_must_be_empty crowd.err
'

test_expect_success 'who takes the place of a controller that died cannot speak for it' '
    running fake && kill -9 $controller && until_true "! test -e /proc/$controller/exe" &&
    port=$(sed "s/.*127.0.0.1:\([0-9]*\).*/\1/" fake/controller.json) &&
    "$intruder" listen $port >heard && test -s heard && ! grep -a -e loss -e hello heard &&
    go && rung resume --quiet fake && nothing_left fake && sound fake
'

test_expect_success 'controller.json as garbage, a pipe, a link' '
    file=file/controller.json && running file && for odd in "echo garbage >" mkfifo "ln -s /dev/zero"; do
        eval "$odd file/odd" && mv file/odd file/controller.json &&
        timeout 20 rung status file && kill -0 $controller &&
        until_true "test ! -L \$file -a -f \$file && grep public_key \$file" || return 1
    done &&
    over file
'

test_expect_success 'requests that are none: set aside, said, and nobody waits' '
    running ask && mkfifo ask/requests/1.json && mkdir ask/requests/2.json &&
    ln -s /dev/zero ask/requests/3.json && head -c 100000 /dev/zero >ask/requests/4.json &&
    echo "{\"op\":\"stop\"" >"ask/requests/5$(printf "\033")[2J.json" &&
    : >"ask/requests/$(printf "%0250d" 6).json" &&
    until_true "test \$(ls ask/requests | grep -c bad\$) = 6" && over ask && bare ask.err &&
    test "$(grep -c "a request could not be read" ask.err)" = 6
'

test_expect_success ROOT 'another user at the socket of a trial' '
    running door && socket=$(head -n 1 door/sockets) && home=$(dirname "$socket") &&
    test "$(stat -c %a "$home")" = 700 && cp "$intruder" "$home/../rung-intruder-$$" &&
    knock=$home/../rung-intruder-$$ && chmod 755 "$knock" &&
    test_expect_code 1 as_nobody "$knock" knock "$socket" 2>err && cat err &&
    grep "connect: Permission denied" err && chmod 711 "$home" && chmod 777 "$socket" &&
    test_expect_code 1 as_nobody "$knock" knock "$socket" 2>err && cat err &&
    grep "intruder: closed" err && rm "$knock" && over door && ! events door report "\"loss\":-666"
'

test_expect_success ROOT 'what is no business of other users' '
    rung run --quiet --dir mine quick.yaml && test "$(stat -c %a mine mine/keys | xargs)" = "755 700" &&
    chmod 755 . && ! as_nobody cat mine/keys/agent.key && ! as_nobody touch mine/requests/x.json &&
    ! as_nobody touch mine/controller.json mine/journal/000002.jsonl
'

# ---- environments ----

test_expect_success 'RUNG_ variables from outside do not reach programs, others do' '
    sweep_file env "sh -c '\''env >env.out; rung log step=1 loss=1'\''" <<-END &&
	space: {x: "uniform(0, 1)"}
	search: {trials: 1}
	schedule: {max_t: 1}
	END
    RUNG_SOCKET=/nowhere RUNG_PARAM_evil=1 RUNG_PARAMS={} RUNG_TRIAL=7 KEPT=yes run_sweep env &&
    ! grep -e nowhere -e evil env.out && grep -x RUNG_TRIAL=0 env.out && grep -x KEPT=yes env.out
'

test_done
