"""A small network learns sin(4x)y, in numpy alone: a trial that really trains something."""

import os

import numpy as np
import rung

epochs = 81
p = rung.params(lr=0.1, width=16)  # these, when run by hand
rng = np.random.default_rng(rung.seed())
x = np.c_[rng.uniform(-1, 1, (4000, 2)), np.ones(4000)]
y = np.sin(4 * x[:, 0]) * x[:, 1]
w = {"a": rng.normal(size=(3, p["width"])) * 2, "b": np.zeros(p["width"])}
path = os.path.join(rung.checkpoint_dir(), "weights.npz")
if rung.start() > 0:
    w = dict(np.load(path))  # go on from there

for epoch in range(rung.start() + 1, epochs + 1):
    rng = np.random.default_rng((rung.seed(), epoch))  # the same, interrupted or not
    for i in rng.integers(0, 3000, (300, 32)):  # 300 batches of 32
        h = np.tanh(x[i] @ w["a"])
        error = h @ w["b"] - y[i]
        w["a"] -= p["lr"] * x[i].T @ (np.outer(error, w["b"]) * (1 - h * h)) / 32
        w["b"] -= p["lr"] * error @ h / 32
    loss = np.mean((np.tanh(x[3000:] @ w["a"]) @ w["b"] - y[3000:]) ** 2)
    answer = rung.report(epoch, val_loss=loss)
    if answer.save or epoch == epochs:  # a pause, or time is running out
        np.savez(path + ".new.npz", **w)
        os.replace(path + ".new.npz", path)
        rung.saved(epoch)
    if answer != "continue":
        break
