"""Replays recorded decisions of other schedulers through `rung asktell`, one by one.

A trace is a file of JSON lines: a configuration, then what happened in order, with what
that scheduler decided. Those of Ray Tune's AsyncHyperBandScheduler are held against mode
stop, those of Algorithm 2 of the ASHA paper against mode promote. Traces of Ray's with
NaN are left out: its rule for these is not ours.
usage: traces.py RUNG DIR
"""

import json
import math
import pathlib
import sys

from oracle import Engine, same, sweep_file


def sweep(config, mode, levels, brackets, extra):
    first = levels[0]
    return sweep_file(
        sign=config["mode"], trials=config["gen"]["n_trials"], mode=mode, r=first,
        max_t=config["max_t"] if mode == "stop" else levels[-1], eta=config["eta"],
        brackets=brackets, finalists=0 if mode == "promote" else 1, extra=extra)


def metric(value):
    return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}.get(value, value)


class Stopping:
    """Ray Tune's: a trial is added with its bracket, and runs until it is stopped."""

    def __init__(self, rung, config):
        levels = config["rungs"][0]
        self.engine = Engine(rung, sweep(config, "stop", levels, config["brackets"], ""))
        self.numbers = {}

    def add(self, event):
        answer = self.engine(op="add", bracket=event["bracket"])
        same("add", answer["bracket"], event["bracket"], event)
        self.numbers[event["trial"]] = answer["trial"]

    def report(self, event):
        answer = self.engine(op="report", trial=self.numbers[event["trial"]],
                             step=event["resource"],
                             metrics={"loss": metric(event["metric"])})
        same("report", answer["decision"], event["decision"], event)

    def fail(self, event):
        answer = self.engine(op="fail", trial=self.numbers[event["trial"]])
        same("fail", answer, {"retry": False}, event)


class Paper:
    """Algorithm 2: a free slot asks, and a trial pauses at each milestone."""

    def __init__(self, rung, config):
        self.engine = Engine(rung, sweep(config, "promote", config["rung_levels"], 1,
                                         "trials_per_job: 1"))
        self.config = config

    def suggest(self, event):
        answer = self.engine(op="ask")
        resumed = event["decision"] == "resume"
        same("ask", (answer["trial"], answer["start"], answer["until"]),
             (int(event["trial"]), event["resume_from"] or 0, event["milestone"]), event)
        same("resumed", answer["start"] > 0, resumed, event)

    def report(self, event):
        answer = self.engine(op="report", trial=int(event["trial"]),
                             step=event["resource"],
                             metrics={"loss": metric(event["metric"])})
        same("report", answer["decision"], event["decision"], event)

    def fail(self, event):
        answer = self.engine(op="fail", trial=int(event["trial"]))
        same("fail", answer, {"retry": False}, event)


def replay(rung, path, kind):
    """How many decisions agree; None where the trace follows another rule."""
    with open(path, encoding="utf-8") as file:
        config, *events = map(json.loads, file)
    if config["gen"]["p_nan"] > 0:
        return None
    scheduler = kind(rung, config)
    for event in events:
        try:
            getattr(scheduler, event["type"])(event)
        except AssertionError as e:
            raise AssertionError(f"{path}, event {event['seq']}: {e}") from e
    scheduler.engine.close()
    return len(events)


def main():
    rung, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    for name, kind in (("ray_stopping", Stopping), ("paper_asha", Paper)):
        paths = sorted((folder / name).glob("*.jsonl"))
        done = [n for n in (replay(rung, path, kind) for path in paths) if n is not None]
        if not done:
            raise AssertionError(f"no traces in {folder / name}")
        print(f"{name}: {len(done)} of {len(paths)} traces, {sum(done)} decisions agree")


if __name__ == "__main__":
    main()
