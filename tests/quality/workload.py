#!/usr/bin/python3
"""Asynchronous against synchronous halving where jobs straggle and are lost: the simulated
workload of Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020,
appendix A.1: eta 4, r 1, R 256, 25 workers; a job of some steps takes (1 + |z|) times as
many units of time, with z ~ N(0, std), and is lost with a chance of p in each unit. How
many configurations are trained to R in 2000 units of time, lost jobs being made again:
median and quartiles.

    tests/quality/workload.py ./rung --repeat 25

`sha` makes brackets of 256 trials, one after another: 2000 divided by the time that one
takes. `hyperband` opens a bracket while others wait, `asha` with 5 brackets is its
asynchronous kin. '<' stands before what asynchrony has lost."""
import argparse
import json
import subprocess
import tempfile

STDS = (0, 0.24, 0.56, 1.0, 1.33)
DROPS = (0, 0.0005, 0.001, 0.002, 0.004, 0.006)
LIMIT = 2000
PAIRS = (("asha", "brackets: 1", "sha", "brackets: 1"),
         ("asha", "brackets: 5", "hyperband", "brackets: 1"))
SWEEP = """
command: "true"
metric: loss
space: {{x: "uniform(0, 1)"}}
search: {{trials: {trials}}}
schedule: {{method: {method}, {more}, grace_period: 1, max_t: 256, reduction_factor: 4,
           finalists: 0}}
slots: 25
"""


def simulate(o, std, drop, method, more):
    """Quantiles of the configurations trained to R within the limit."""
    once = method == "sha"
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(SWEEP.format(method=method, more=more, trials=256 if once else 100000))
        file.flush()
        out = json.loads(subprocess.run(
            [o.rung, "simulate", "--json", "--repeat", str(o.repeat), "--straggler-std",
             str(std), "--drop-rate", str(drop), *([] if once else ["--until", str(LIMIT)]),
             file.name], stdout=subprocess.PIPE, check=True).stdout)
    quantiles = ("p50", "p25", "p75")
    complete = [out["levels"][-1]["trials"][q] for q in quantiles]
    if not once:
        return complete
    times = [out["time"][q] for q in ("p50", "p75", "p25")]
    return [n * LIMIT / t for n, t in zip(complete, times)]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rung")
    parser.add_argument("--repeat", type=int, default=25)
    parser.add_argument("--stds", type=float, nargs="+", default=STDS)
    parser.add_argument("--drops", type=float, nargs="+", default=DROPS)
    o = parser.parse_args()
    print("std\tdrop rate\tasha\tsha\tasha, 5 brackets\thyperband")
    for std in o.stds:
        for drop in o.drops:
            cells = []
            for ours, more, theirs, other in PAIRS:
                a, b = (simulate(o, std, drop, m, k) for m, k in ((ours, more), (theirs, other)))
                worse = "<" if a[0] < b[0] else ""
                cells += [worse + "{:.1f} [{:.1f}, {:.1f}]".format(*a),
                          "{:.1f} [{:.1f}, {:.1f}]".format(*b)]
            print(std, drop, *cells, sep="\t", flush=True)


if __name__ == "__main__":
    main()
