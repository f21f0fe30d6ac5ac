#!/bin/sh
# usage: cluster_trial.sh SECONDS
#
# A trial program that takes SECONDS for a step, saves each, goes on until it is told not
# to, and keeps an account of what it was told, a line an answer: trial, attempt, step,
# milestone, and the status of `rung log`. While there is a file DIR.hold beside the
# sweep's directory DIR, it stays at its first step.
step=$RUNG_START
if test "$step" -gt 0; then
    test "$(cat "$RUNG_CHECKPOINT_DIR/step")" -ge "$step" || exit 9
fi
while :; do
    sleep "$1"
    step=$((step + 1))
    echo $step >"$RUNG_CHECKPOINT_DIR/step"
    rung log step=$step loss="${RUNG_PARAM_x:?}" saved=$step
    answer=$?
    echo "$RUNG_TRIAL $RUNG_ATTEMPT $step $RUNG_UNTIL $answer" >>"$RUNG_SWEEP_DIR.told"
    test $answer = 0 || exit $((answer == 1))
    while test -e "$RUNG_SWEEP_DIR.hold"; do
        sleep 0.1
    done
done
