"""Take part in a sweep of rung from a Python program, and load a sweep's results.

A trial trains, reports each step, and does as it is told:

    import rung

    cfg = rung.params(lr=1e-3)             # defaults are for running by hand
    if rung.start() > 0:
        load(rung.checkpoint_dir())
    for step in range(rung.start() + 1, 28):
        loss = train_one_epoch(cfg)
        answer = rung.report(step, val_loss=loss)
        if answer.save:                    # also when the answer is "pause"
            save(rung.checkpoint_dir())
            rung.saved(step)
        if answer != "continue":
            break

Outside a sweep the same program runs by itself: reports are printed and answered
"continue". With several ranks only rank 0 reports, and broadcasts the answer before
any rank acts on it.

Afterwards, rung.load(DIR) gives the sweep's tables as pandas DataFrames.

Only the standard library is needed; load() imports pandas and h5py.
"""

import json
import math
import os
import socket
import sys
import threading
import types

__all__ = [
    "Answer", "Error", "active", "attempt", "checkpoint_dir", "load", "params",
    "report", "saved", "seed", "start", "trial", "until",
]


class Error(Exception):
    """The agent cannot be reached, or refused a report; the text says why."""


class Answer(str):
    """What report() returns: "continue", "pause" or "stop", a string like any other.

    save: a checkpoint is wanted now. True with every "pause", and with a "continue"
    when the job's time is running out; call saved() when it is written.
    """

    save = False

    def __new__(cls, decision, save=False):
        answer = super().__new__(cls, decision)
        answer.save = save
        return answer


class _Agent:
    """The connection to the agent that runs this trial."""

    def __init__(self):
        self.lock = threading.Lock()
        self.socket = None
        self.pid = None
        self.until = None

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None

    def connect(self):
        if self.pid != os.getpid():  # a fork: the connection is its parent's
            self.close()
        if self.socket is None:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(os.environ["RUNG_SOCKET"])
            self.pid = os.getpid()

    def ask(self, line):
        self.connect()
        self.socket.sendall(line)
        answer = b""
        while not answer.endswith(b"\n"):
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionResetError("the agent closed the connection")
            answer += piece
        return json.loads(answer.decode())

    def exchange(self, message):
        """One line there, one line back; once more over a new connection if it breaks."""
        line = (json.dumps(message) + "\n").encode()
        with self.lock:
            for last in (False, True):
                try:
                    answer = self.ask(line)
                    break
                except OSError as e:
                    self.close()
                    if last:
                        raise Error("cannot reach the agent: %s" % e) from e
                except BaseException:  # interrupted: the answer would come later
                    self.close()
                    raise
            if "error" in answer:
                raise Error(answer["error"])
            self.until = answer.get("until", self.until)
        return answer


_agent = _Agent()


def active():
    """Whether this program is a trial of a sweep, and not run by hand."""
    return bool(os.environ.get("RUNG_SOCKET"))


def _number(name, missing):
    text = os.environ.get(name) if active() else None
    return int(text) if text else missing


def params(**defaults):
    """The trial's parameters, a dict: {"lr": 0.003, "optimizer": "sgd"}.

    A parameter that this trial does not have (its `when` is false) is not in it.
    Defaults are what the program runs with by hand; in a sweep they count for
    parameters that the sweep file does not know.
    """
    return dict(defaults, **json.loads(os.environ.get("RUNG_PARAMS") or "{}"))


def trial():
    """The trial's number; -1 outside a sweep."""
    return _number("RUNG_TRIAL", -1)


def attempt():
    """The number of this attempt at the trial, from 1; 0 outside a sweep."""
    return _number("RUNG_ATTEMPT", 0)


def seed():
    """The seed that this trial should use; 0 outside a sweep."""
    return _number("RUNG_SEED", 0)


def start():
    """The step that the checkpoint directory holds; 0: there is none."""
    return _number("RUNG_START", 0)


def until():
    """The next milestone, as last heard; sys.maxsize outside a sweep."""
    if active() and _agent.until is not None:
        return _agent.until
    return _number("RUNG_UNTIL", sys.maxsize)


def checkpoint_dir():
    """The directory for this trial's checkpoints, which exists; "." outside a sweep."""
    return os.environ.get("RUNG_CHECKPOINT_DIR", ".") if active() else "."


def _plain(value):
    """A number as the C library prints it: as few digits as read back the same."""
    for digits in (15, 16, 17):
        text = "%.*g" % (digits, value)
        if float(text) == value:
            break
    return text if math.isfinite(value) else str(value)


def report(step, metrics=None, **named):
    """Reports metrics at a step (1, 2, ...) and returns the Answer.

    Metrics are given by name, or in a dict where a name is no Python name:

        rung.report(3, val_loss=0.21)
        rung.report(3, {"val/loss": 0.21}, accuracy=0.93)

    Values are whatever float() takes; NaN and infinities may be reported. Waits for the
    answer, which at a milestone is a decision about this trial. Raises Error when the
    agent is gone or refuses the report.
    """
    values = {name: float(v) for name, v in dict(metrics or {}, **named).items()}
    step = int(step)
    if not active():
        words = ["step=%d" % step] + ["%s=%s" % (n, _plain(v)) for n, v in values.items()]
        print(*words, flush=True)
        return Answer("continue")
    answer = _agent.exchange({"step": step, "metrics": values})
    decision = answer["decision"]
    return Answer(decision, decision == "pause" or bool(answer.get("save")))


def saved(step):
    """Says that the checkpoint directory now holds this step, durably.

    The next attempt's start() is the last step that was said to be saved.
    """
    if active():
        _agent.exchange({"saved": int(step)})


def _frame(dataset):
    import pandas

    frame = pandas.DataFrame.from_records(dataset[()])
    for name in frame.columns:
        if frame[name].dtype == object:  # fixed-length strings come as bytes
            frame[name] = [v.decode() if isinstance(v, bytes) else v for v in frame[name]]
    for key, value in dataset.attrs.items():
        if getattr(value, "shape", None) == (len(frame.columns),):
            frame.attrs[key] = dict(zip(frame.columns, map(_text, value)))
    return frame


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def load(path="."):
    """The results of a sweep, from its directory or its sweep.h5, during it or after.

    Returns an object with the pandas DataFrames trials, metrics, rungs, decisions and
    attempts, the sweep file's text sweep_yaml, and the file's attributes (a dict):

        s = rung.load("fashion-20261120-171502")
        s.trials.nsmallest(3, "best_metric")
        s.metrics.pivot(index="step", columns="trial", values="val_loss").plot()

    The attrs of a frame hold what the file says about its columns: units, and in
    metrics the names as they were reported.
    """
    import h5py

    if os.path.isdir(path):
        path = os.path.join(path, "sweep.h5")
    tables = ("trials", "metrics", "rungs", "decisions", "attempts")
    with h5py.File(path, "r") as f:
        sweep = types.SimpleNamespace(**{name: _frame(f[name]) for name in tables})
        sweep.sweep_yaml = _text(f["sweep_yaml"][()])
        sweep.attributes = {key: _text(value) for key, value in f.attrs.items()}
    return sweep
