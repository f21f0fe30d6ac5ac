#!/usr/bin/env python3
"""A trial in Python that trains nothing: its loss falls towards a floor that is lowest
where lr is 0.01. What a real program would do is all here: parameters, steps, a
checkpoint to go on from, reports, and doing as one is told.

    python3 trial.py              by hand: nine steps
    command: python3 trial.py     in a sweep file, with lr: loguniform(1e-4, 1) in space
    command: python3 trial.py 0.5 the same, each step taking half a second
"""

import json
import math
import os
import sys
import time

import rung


def save(step, loss):
    """A checkpoint is there as a whole or not at all: it is written beside, and renamed."""
    path = os.path.join(rung.checkpoint_dir(), "trial.checkpoint")
    with open(path + ".new", "w") as f:
        json.dump({"step": step, "loss": loss}, f)
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + ".new", path)
    rung.saved(step)


def load(step):
    with open(os.path.join(rung.checkpoint_dir(), "trial.checkpoint")) as f:
        checkpoint = json.load(f)
    if checkpoint["step"] != step:
        sys.exit("the checkpoint is of step %d, not %d" % (checkpoint["step"], step))
    return checkpoint["loss"]


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0
    lr = rung.params(lr=0.001)["lr"]
    floor = 0.1 + 0.2 * (math.log10(lr) + 2) ** 2
    start = rung.start()
    loss = load(start) if start > 0 else 1.0
    last = sys.maxsize if rung.active() else 9

    for step in range(start + 1, last + 1):
        time.sleep(seconds)
        loss += 0.3 * (floor - loss)
        answer = rung.report(step, val_loss=loss)
        if answer.save:
            save(step, loss)
        if answer != "continue":
            break


if __name__ == "__main__":
    main()
