"""h5_read.py DIR DOC: reads DIR/sweep.h5 with h5py and pandas, and compares it with what
DIR/journal says, read here on its own; and its columns with those that DOC, the page
doc/sweep-h5.md, lists."""

import json
import math
import re
import sys
import warnings

import h5py
import numpy as np
import pandas as pd
import tables

warnings.simplefilter("error")
# PyTables would like all columns to be Python identifiers; metrics may be called as one likes.
warnings.simplefilter("ignore", tables.NaturalNameWarning)

path = sys.argv[1] + "/sweep.h5"
with open(sys.argv[1] + "/journal/000001.jsonl", encoding="utf-8") as journal:
    events = [json.loads(line) for line in journal]
TABLES = ["trials", "metrics", "rungs", "decisions", "attempts"]
frames = {name: pd.read_hdf(path, name) for name in TABLES}


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def of_kind(kind):
    return [event for event in events if event["e"] == kind]


def check_types():
    with h5py.File(path) as f:
        assert sorted(f) == sorted(TABLES + ["sweep_yaml"]), sorted(f)
        for name in TABLES:
            dtype = f[name].dtype
            assert f[name].ndim == 1
            assert list(dtype.names) == list(frames[name].columns), name
            for column in dtype.names:
                assert dtype[column].str in ("<i4", "<f8") or dtype[column].kind == "S", column
                if dtype[column].kind == "S":
                    longest = max((len(v) for v in f[name][column]), default=0)
                    assert dtype[column].itemsize == max(longest, 1), column
            units = f[name].attrs["units"]
            assert units.dtype.kind == "S" and len(units) == len(dtype.names)
        assert dict(zip(f["attempts"].dtype.names, f["attempts"].attrs["units"]))["max_rss"] == b"bytes"
        assert f["sweep_yaml"].asstr()[()] == "name: sample\ncommand: train --lr {lr}\n# été\n"


def check_attributes():
    with h5py.File(path) as f:
        a = dict(f.attrs)
    text = {k: v for k, v in a.items() if isinstance(v, str)}
    assert text.pop("rung_version")[0].isdigit()
    assert text == {
        "name": "sample", "metric": "val_loss", "mode": "min", "host": "n017",
        "user": "adä", "command": "rung run sample.yaml",
    }, text
    assert a["schema"] == 1 and a["schema"].dtype == np.int32
    assert a["journal_events"] == len(events)
    assert a["created"] == events[0]["t"]
    assert a["written"] == events[-1]["t"] + 1
    assert "git" not in a


def check_metrics():
    with h5py.File(path) as f:
        names = [n.decode() for n in f["metrics"].attrs["names"]]
    df = frames["metrics"]
    columns = dict(zip(names[6:], df.columns[6:]))
    assert names[:6] == list(df.columns[:6])
    assert columns["metric/1"] == "metric.1"
    assert columns["val/loss"] == "val.loss" and columns["val.loss"] == "m_val.loss"
    assert columns["_v_hidden"] == "m__v_hidden" and columns["step"] == "m_step"
    assert columns["with space"] == "with space" and columns["été"] == "été"
    reports = of_kind("report")
    assert len(df) == len(reports)
    for row, event in zip(df.to_dict("records"), reports):
        for key in ("trial", "attempt", "step", "elapsed"):
            assert row[key] == event[key]
        assert row["time"] == event["t"] and row["rung"] == event.get("rung", -1)
        for name, column in columns.items():
            value = float(event["metrics"].get(name, "nan"))
            assert same(row[column], value), (row, event)
    assert np.isinf(df["val.loss"]).sum() == 1


def check_decisions():
    df = frames["decisions"]
    made = [e for e in events if e["e"] == "report" and "rung" in e or
            e["e"] == "start" and "from" in e]
    assert len(df) == len(made)
    for row, event in zip(df.to_dict("records"), made):
        promote = event["e"] == "start"
        assert row["time"] == event["t"] and row["trial"] == event["trial"]
        assert row["rung"] == (event["from"] if promote else event["rung"])
        assert row["decision"] == ("promote" if promote else event["decision"])
        if not promote:
            assert row["step"] == event["step"]
            assert same(row["value"], float(event["metrics"]["val_loss"]))
        assert 1 <= row["rank"] <= row["size"]
    assert set(df.decision) == {"continue", "pause", "promote"}, set(df.decision)


def check_attempts():
    df = frames["attempts"]
    starts = of_kind("start")
    ends = {(e["trial"], e["attempt"]): e for e in of_kind("end")}
    assert len(df) == len(starts)
    assert (df.outcome == "").sum() == len(starts) - len(ends) > 0
    for row, event in zip(df.to_dict("records"), starts):
        end = ends.get((event["trial"], event["attempt"]))
        assert row["trial"] == event["trial"] and row["attempt"] == event["attempt"]
        assert row["first_step"] == event["start"]
        if end is None:
            assert math.isnan(row["ended"]) and row["exit_code"] == -1
            assert row["node"] == "" and row["started"] == event["t"]
            continue
        assert row["outcome"] == end["outcome"] and row["exit_code"] == end["exit"]
        assert row["started"] == end["started"] and row["ended"] == end["ended"]
        assert row["last_step"] == end.get("last_step", -1)
        assert row["node"] == end["node"] and row["slurm_job"] == end["slurm_job"]
        assert row["cpu_seconds"] == end["cpu_seconds"] and row["max_rss"] == end["max_rss"]
        for name in "gpu_seconds", "gpu_util", "gpu_mem_peak", "gpu_energy_joules", "energy_joules":
            assert math.isnan(row[name]), name
    assert set(df.outcome) >= {"paused", "failed"}


def check_trials():
    df = frames["trials"]
    drawn = of_kind("trial")
    assert list(df.trial) == list(range(len(drawn)))
    assert dict(df.dtypes.astype(str).filter(like="hp_")) == {
        "hp_l1": "float64", "hp_lr": "float64", "hp_optimizer": "object",
        "hp_momentum": "object", "hp_nesterov": "object", "hp_seed": "float64",
    }
    for row, event in zip(df.to_dict("records"), drawn):
        own = [e for e in events if e.get("trial") == event["trial"]]
        reports = [e for e in own if e["e"] == "report"]
        for name in ("l1", "lr", "seed"):
            assert same(row["hp_" + name], event["params"].get(name, math.nan)), (row, event)
        assert row["hp_optimizer"] == event["params"]["optimizer"]
        momentum = event["params"].get("momentum", "")
        assert row["hp_momentum"] == ("" if momentum == "" else str(momentum)), row
        assert row["hp_nesterov"] == json.dumps(event["params"]["nesterov"])
        assert row["bracket"] == event["bracket"] and row["parent"] == -1
        assert row["created"] == event["t"]
        assert row["attempts"] == sum(e["e"] == "start" for e in own)
        assert row["rung"] == max((e.get("rung", -1) for e in reports), default=-1)
        assert row["step"] == max((e["step"] for e in reports), default=0)
        best = min((float(e["metrics"]["val_loss"]) for e in reports
                    if not math.isnan(float(e["metrics"]["val_loss"]))), default=math.nan)
        assert same(row["best_metric"], best)
        assert (row["best_step"] == -1) == math.isnan(best)
        seconds = 0
        for e in own:
            if e["e"] == "start":
                began = e["t"]
            if e["e"] == "end":
                seconds += e["t"] - began
        assert abs(row["seconds"] - seconds) < 1e-6
    assert set(df.state) == {"waiting", "running", "paused"} | ({"completed"} & set(df.state))


def check_rungs():
    df = frames["rungs"]
    assert list(zip(df.bracket, df.rung, df.milestone)) == [
        (0, 0, 1), (0, 1, 3), (0, 2, 9), (1, 0, 3), (1, 1, 9)]
    brackets = {e["trial"]: e["bracket"] for e in of_kind("trial")}
    for row in df.itertuples():
        here = [e for e in of_kind("report")
                if e.get("rung") == row.rung and brackets[e["trial"]] == row.bracket]
        assert row.reported == len(here)
        assert row.stopped == 0
        promoted = sum(e["decision"] == "continue" for e in here)
        promoted += sum(e.get("from") == row.rung and brackets[e["trial"]] == row.bracket
                        for e in of_kind("start"))
        assert row.promoted == promoted


def check_page():
    with open(sys.argv[2], encoding="utf-8") as page:
        sections = re.split(r"^## ", page.read(), flags=re.M)
    with h5py.File(path) as f:
        for name in TABLES:
            text = next(s for s in sections if s.startswith("`/%s`" % name))
            rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\|", text, flags=re.M)
            columns = list(zip(f[name].dtype.names, f[name].attrs["units"].astype(str)))
            if rows[-1][0] in ("hp_NAME", "METRIC"):
                columns[len(rows) - 1:] = [(rows[-1][0], "")]
            assert rows == columns, (name, rows, columns)


for check in (check_types, check_attributes, check_metrics, check_decisions, check_attempts,
              check_trials, check_rungs, check_page):
    check()
    print(check.__name__)
