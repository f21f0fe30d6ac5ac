"""metrics_read.py DIR: reads a sweep of two metrics, error (min) and net/speed (max), and
compares its Pareto front, computed here from the reports, with what sweep.h5, trials.csv
and best.json, status.json, show.json and best beside it say."""

import glob
import json
import math
import sys

import h5py
import pandas as pd

where = sys.argv[1]
trials = pd.read_hdf(where + "/sweep.h5", "trials")
metrics = pd.read_hdf(where + "/sweep.h5", "metrics")
MODES = {"error": 1, "net.speed": -1}


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b)) and a != b


def best_of(trial):
    """(step, turned values) of the latest report that the best before does not dominate."""
    best = None
    for _, row in metrics[metrics.trial == trial].iterrows():
        values = tuple(sign * row[name] for name, sign in MODES.items())
        if any(math.isnan(v) for v in values) or (best and row["step"] <= best[0]):
            continue
        if best is None or not dominates(best[1], values):
            best = (row["step"], values)
    return best


def check_trials():
    extra = ["metric_error", "metric_net.speed", "best_metric_error", "best_metric_net.speed",
             "front"]
    assert list(trials.columns[14:]) == extra + ["hp_x", "hp_y"], list(trials.columns)
    assert (trials.metric == trials.metric_error).all()
    assert (trials.best_metric == trials.best_metric_error).all()
    best = [best_of(t) for t in trials.trial]
    assert all(best)
    left, front = dict(enumerate(v for _, v in best)), 1
    while left:
        first = [t for t in left if not any(dominates(o, left[t]) for o in left.values())]
        for t in first:
            assert trials.front[t] == front, (t, trials.front[t], front)
            del left[t]
        front += 1
    for t, (step, values) in enumerate(best):
        assert trials.best_step[t] == step
        assert trials.best_metric_error[t] == values[0]
        assert trials["best_metric_net.speed"][t] == -values[1]
    csv = pd.read_csv(where + "/trials.csv")
    assert list(csv.front) == list(trials.front)


def check_attributes():
    with h5py.File(where + "/sweep.h5") as f:
        assert list(f.attrs["metrics"].astype(str)) == ["error", "net/speed"]
        assert list(f.attrs["modes"].astype(str)) == ["min", "max"]
        assert f.attrs["metric"] == "error" and f.attrs["mode"] == "min"


def check_ranks():
    decisions = pd.read_hdf(where + "/sweep.h5", "decisions")
    assert len(decisions) > 24 and decisions.cutoff.isna().all()
    assert ((decisions["rank"] >= 1) & (decisions["rank"] <= decisions["size"])).all()
    assert pd.read_hdf(where + "/sweep.h5", "rungs").cutoff.isna().all()


def check_told():
    with open("best.json") as f:
        best = json.load(f)["best"]
    with open("status.json") as f:
        status = json.load(f)
    with open("show.json") as f:
        show = json.load(f)
    with open("best") as f:
        lines = f.read().split("\n\n")[0].split("\n")
    ranked = trials.sort_values(["front", "best_metric_error"])
    assert [b["trial"] for b in best] == list(ranked.trial)
    for b in best:
        row = trials.loc[b["trial"]]
        assert b["front"] == row.front and b["step"] == row.best_step
        assert b["metric"] == row.best_metric
        assert b["metrics"] == {"error": row.best_metric_error,
                                "net/speed": row["best_metric_net.speed"]}
    front = [b for b in best if b["front"] == 1]
    assert status["front"] == front and status["best"] == front[0]
    assert status["metrics"] == {"error": "min", "net/speed": "max"}
    assert [int(line.split()[0]) for line in lines[1:]] == [b["trial"] for b in front]
    assert show["front"] == trials.front[3] and show["metric_error"] == trials.metric[3]
    return [b["trial"] for b in front]


def check_kept(front):
    kept = {int(p.split("/")[-3]) for p in glob.glob(where + "/trials/*/*/state")}
    assert len(kept) == 2, kept
    if len(front) > 1:  # the ends differ most
        assert kept == {front[0], front[-1]}, (kept, front)


check_trials()
check_attributes()
check_ranks()
check_kept(check_told())
