"""cluster_left.py DIR: is the journal of the sweep there one history, is sweep.h5 its
picture, and is in it whatever its programs (tests/cluster_trial.sh) were told?

The journal is read here on its own: what counts is found from the newest file back."""

import glob
import json
import math
import os
import sys

os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
import h5py

# These ends take the agent, and what it had not passed on yet, with them.
WITH_AGENT = {"lost", "node_fail", "preempted", "timeout", "cancelled"}


def accepted(directory):
    files, events, first = {}, [], {}
    for path in glob.glob(directory + "/journal/*.jsonl"):
        with open(path, "rb") as f:
            data = f.read()
        epoch = int(os.path.basename(path)[:-6])
        files[epoch] = data[:data.rfind(b"\n") + 1]
        if files[epoch]:
            first[epoch] = json.loads(files[epoch].split(b"\n")[0])
    epoch, limit = max(first), None
    while epoch:
        events = [json.loads(line) for line in files[epoch][:limit].splitlines()] + events
        epoch, limit = first[epoch].get("after", 0), first[epoch].get("bytes", 0)
    return events


def check_history(events):
    """At most one attempt of a trial at a time, and each thing of an attempt within it."""
    running, last, numbers = {}, {}, {}
    for e in events:
        trial, attempt = e.get("trial", -1), e.get("attempt")
        if e["e"] == "start":
            assert trial not in running, f"two attempts at once: {e}, {running[trial]}"
            assert attempt == last.get(trial, 0) + 1, e
            running[trial] = last[trial] = attempt
        elif e["e"] in ("report", "saved", "end"):
            assert running.get(trial) == attempt, f"not of the attempt that runs: {e}"
        if e["e"] == "report":
            numbers[trial, attempt] = numbers.get((trial, attempt), 0) + 1
            assert e["number"] == numbers[trial, attempt], f"reports lost or twice: {e}"
        if e["e"] == "end":
            del running[trial]
            if e["outcome"] not in WITH_AGENT:
                reports = e.get("reports", 0)
                assert numbers.get((trial, attempt), 0) == reports, f"reports lost: {e}"
    assert not running, f"these do not end: {running}"


def check_told(directory, events):
    """Each line: trial, attempt, step, the attempt's first milestone, answer."""
    made = {(e["trial"], e["attempt"], e["step"]): e for e in events if e["e"] == "report"}
    ends = {(e["trial"], e["attempt"]): e["outcome"] for e in events if e["e"] == "end"}
    decisions = ["continue", None, None, "pause", "stop"]
    if not os.path.exists(directory + ".told"):
        return
    with open(directory + ".told") as f:
        for line in f:
            trial, attempt, step, milestone, answer = map(int, line.split())
            report = made.get((trial, attempt, step))
            decided = step == milestone and decisions[answer] in ("continue", "pause")
            if report is None:
                lost = ends[trial, attempt] in WITH_AGENT
                assert lost and not decided, f"told, and not in the journal: {line.strip()}"
            elif decided:
                assert report["decision"] == decisions[answer], f"told {line.strip()}: {report}"


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def check_tables(directory, events):
    def of(kind):
        return [e for e in events if e["e"] == kind]

    with h5py.File(directory + "/sweep.h5") as f:
        tables = {name: f[name][:] for name in ("trials", "metrics", "attempts")}
        assert f.attrs["journal_events"] == len(events), "sweep.h5 is old"
    rows = [(r["trial"], r["attempt"], r["step"]) for r in tables["metrics"]]
    assert rows == [(e["trial"], e["attempt"], e["step"]) for e in of("report")], "metrics"
    for row, e in zip(tables["metrics"], of("report")):
        assert same(row["loss"], float(e["metrics"]["loss"])), (row, e)
    ends = {(e["trial"], e["attempt"]): e["outcome"] for e in of("end")}
    assert [(r["trial"], r["attempt"], r["outcome"].decode()) for r in tables["attempts"]] == \
        [(e["trial"], e["attempt"], ends[e["trial"], e["attempt"]])
         for e in of("start")], "attempts"
    assert list(tables["trials"]["trial"]) == [e["trial"] for e in of("trial")], "trials"
    assert b"running" not in tables["trials"]["state"], tables["trials"]


def main(directory):
    events = accepted(directory)
    check_history(events)
    check_told(directory, events)
    check_tables(directory, events)


main(os.path.realpath(sys.argv[1]))
