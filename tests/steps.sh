#!/bin/sh
# A trial program with a checkpoint, which is a file that names its step; it is written
# when that is asked for or, with the argument `each`, at each step. The loss is
# parameter x. While there is a file `hold` beside the sweep it stays at step 1.
echo "$RUNG_SOCKET" >>"$RUNG_SWEEP_DIR/sockets"
step=$RUNG_START
if test "$step" -gt 0; then
    test "$(cat "$RUNG_CHECKPOINT_DIR/checkpoint")" -ge "$step" || exit 9
fi
while :; do
    while test "$step" -ge 1 && test -e "$RUNG_SWEEP_DIR/../hold"; do
        sleep 0.02
    done
    step=$((step + 1))
    save=$(rung log step=$step loss="${RUNG_PARAM_x:?}")
    decision=$?
    if test $decision = 3 || test "$save" = save || test "$1" = each; then
        echo $step >"$RUNG_CHECKPOINT_DIR/checkpoint"
        test $decision != 0 || rung log saved=$step
    fi
    test $decision = 0 || exit 0
done
