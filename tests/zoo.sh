#!/bin/sh
# A trial program that does what trial programs should not. usage: zoo.sh [bad_]WHAT
# bad_: and its loss is high.
what=$1
loss=1
case $what in bad_*) what=${what#bad_} loss=100 ;; esac
# shellcheck disable=SC3045 # no core files; dash has it, too
ulimit -c 0
echo "$RUNG_SOCKET" >>"$RUNG_SWEEP_DIR/sockets"

report()
{
    rung log step="$1" loss="$loss"
}

# What a good program does, from the step it is at: reports, and obeys.
train()
{
    step=$RUNG_START
    while :; do
        step=$((step + 1))
        report "$step" || break
    done
}

# Lines as they are: see there.
say()
{
    python3 "${0%/*}/zoo.py" "$@"
}

case $what in
good) train ;;
fail) exit 3 ;;
late_fail) report 1 && exit 4 ;;
crash) kill -SEGV $$ ;;
abort) report 1; kill -ABRT $$ ;;
silent) exec sleep 1000 ;;
stubborn) trap '' TERM; while :; do sleep 1000; done ;;
nothing) exit 0 ;;
early) report 1; exit 0 ;;
# the loss under another name
other) for step in 1 2 3 4; do rung log step=$step lost=1 found=2; done ;;
flood) head -c 10000000 /dev/zero | tr '\0' 'y'; train ;;
# until the milestone and no further, whatever it is told
until)
    step=$RUNG_START
    while test "$step" -lt "$RUNG_UNTIL"; do
        step=$((step + 1))
        report "$step"
    done
    exit 0 ;;
nan) loss=nan; train ;;
inf) loss=-inf; train ;;
garbage) say garbage && train ;;
long) say long && train ;;
at_once) say at_once ;;
halves) say halves ;;
# where it is stopped at once it says what is beyond that
leap) { report 5 && report 6 && report 9; } || report 6; exec sleep 1000 ;;
child) sleep 1000 & train ;;
orphan) (sleep 1000 & exec sleep 1000 &) ; train ;;
session) setsid sh -c 'setsid sleep 1000 & exec sleep 1000' & train ;;
deaf_child) (trap '' TERM; sleep 1000 & while :; do sleep 1000; done) & train ;;
goes_on) train; report $((step + 1)); exec sleep 1000 ;;
stays) train; exec sleep 1000 ;;
rude) train; exit 7 ;;
# ends badly after pause, but has said before that its checkpoint is there
saved_rude)
    train
    test "$RUNG_START" -gt 0 || { rung log saved="$step"; exit 7; } ;;
saved_stays)
    train
    test "$RUNG_START" -gt 0 || { rung log saved="$step"; exec sleep 1000; } ;;
*) echo "what is '$what'?" >&2; exit 99 ;;
esac
