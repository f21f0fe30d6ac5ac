"""The trial program and the reader of tests/security.t: what a sweep file says has come
through to the program, and to every table, as it was."""
import csv
import json
import os
import sys

METRICS = {"%s%n": 2, "é/☃": 1, "x-": 3, "'\"\\,": 4, "$(id)": 5}


def trial():
    params = json.loads(os.environ["RUNG_PARAMS"])
    for name, value in params.items():
        assert os.environ["RUNG_PARAM_" + name] == value, (name, value)
    a = params["a"]
    want = [params["esc"], a, "--a=" + a, params["hard"], "x" + a + "y"]
    assert sys.argv[2:] == want, sys.argv
    metrics = ["%s=%s" % m for m in METRICS.items()]
    os.execvp("rung", ["rung", "log", "--", "step=1", "loss=1"] + metrics)


def read(folder):
    drawn = {}
    for name in os.listdir(folder + "/journal"):
        for line in open(folder + "/journal/" + name, encoding="utf-8"):
            event = json.loads(line)
            if event["e"] == "trial":
                drawn[event["trial"]] = event["params"]
    rows = list(csv.DictReader(open(folder + "/trials.csv", newline="", encoding="utf-8")))
    lines = [json.loads(l) for l in open(folder + "/trials.jsonl", encoding="utf-8")]
    assert len(rows) == len(lines) == len(drawn) == int(sys.argv[3])
    for row, line in zip(rows, lines):
        for name, value in drawn[int(row["trial"])].items():
            assert row["hp_" + name] == value, (row, value)
            assert line["hp_" + name] == value, (line, value)
        assert row["state"] == "completed", row
    for row in csv.DictReader(open(folder + "/metrics.csv", newline="", encoding="utf-8")):
        for name, value in METRICS.items():
            assert float(row[name.replace("/", ".")]) == value, row
    try:
        import h5py
    except ImportError:
        return
    with h5py.File(folder + "/sweep.h5", "r") as f:
        for row in f["trials"]:
            for name, value in drawn[row["trial"]].items():
                assert row["hp_" + name].decode() == value, (row, value)


read(sys.argv[2]) if sys.argv[1] == "read" else trial()
