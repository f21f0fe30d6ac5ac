#!/usr/bin/python3
"""How far searchers stay above the minimum of functions that are known, one trial at a
time: the best value after 50, 100 and 200 of them minus the minimum, as the median over
seeds with a 95 % bootstrap interval. Our searchers are asked through `rung asktell`;
with --optuna those of Optuna too, which the interpreter must have.

    tests/quality/regret.py ./rung --seeds 100 --optuna

One line for each function and searcher; less is better."""
import argparse
import concurrent.futures
import json
import math
import os
import random
import subprocess
import sys
import tempfile

OURS = {
    "random": "{method: random",
    "sobol": "{method: sobol",
    "tpe": "{method: tpe",
    "bohb": "{method: bohb",
    "cmaes": "{method: cmaes",
    "gp": "{method: gp",
    "auto": "{method: auto",
    "tpe-univariate": "{method: tpe, multivariate: false",
}
THEIRS = ("optuna-tpe", "optuna-tpe-univariate", "optuna-gp", "optuna-cmaes")
AT = (50, 100, 200)


def branin(p):
    x, y = p["x0"], p["x1"]
    b, c, t = 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)
    return (y - b * x * x + c * x - 6) ** 2 + 10 * (1 - t) * math.cos(x) + 10


HARTMANN = (
    (1.0, (10, 3, 17, 3.5, 1.7, 8), (1312, 1696, 5569, 124, 8283, 5886)),
    (1.2, (0.05, 10, 17, 0.1, 8, 14), (2329, 4135, 8307, 3736, 1004, 9991)),
    (3.0, (3, 3.5, 1.7, 10, 17, 8), (2348, 1451, 3522, 2883, 3047, 6650)),
    (3.2, (17, 8, 0.05, 10, 0.1, 14), (4047, 8828, 8732, 5743, 1091, 381)),
)


def hartmann6(p):
    x = [p["x%d" % i] for i in range(6)]
    return -sum(
        alpha * math.exp(-sum(a * (v - c * 1e-4) ** 2 for a, v, c in zip(row, x, place)))
        for alpha, row, place in HARTMANN
    )


def ackley5(p):
    x = [p["x%d" % i] for i in range(5)]
    return (
        -20 * math.exp(-0.2 * math.sqrt(sum(v * v for v in x) / 5))
        - math.exp(sum(math.cos(2 * math.pi * v) for v in x) / 5)
        + 20
        + math.e
    )


LAYERS = {"linear": 1.5, "conv": 0.0, "attention": 0.4, "recurrent": 0.9, "mixer": 0.6}
UNITS = {"relu": 0.3, "gelu": 0.0, "tanh": 0.8, "elu": 0.5}


def mixed(p):
    """Categorical, integer, logarithmic and conditional parameters, as in training."""
    loss = LAYERS[p["layer"]] + UNITS[p["unit"]] + abs(p["depth"] - 6) / 10
    rate = -2.0 if p["optimizer"] == "sgd" else -3.5
    loss += (math.log10(p["lr"]) - rate) ** 2
    loss += 0.15 * (math.log10(p["decay"]) + 4) ** 2
    if p["optimizer"] == "sgd":
        return loss + 8 * (p["momentum"] - 0.9) ** 2
    return loss + 0.2


REALS = {
    "branin": (branin, 0.39788735772973816, [(-5, 10), (0, 15)]),
    "hartmann6": (hartmann6, -3.322368011415515, [(0, 1)] * 6),
    "ackley5": (ackley5, 0.0, [(-5, 10)] * 5),
}
MIXED = """  layer: choice(linear, conv, attention, recurrent, mixer)
  unit: choice(relu, gelu, tanh, elu)
  depth: randint(1, 17)
  lr: loguniform(1e-6, 1)
  decay: loguniform(1e-8, 1e-1)
  optimizer: choice(sgd, adam)
  momentum:
    sample: uniform(0, 0.99)
    when: optimizer == "sgd"
"""
FUNCTIONS = list(REALS) + ["mixed"]


def objective(function):
    return (mixed, 0.0) if function == "mixed" else REALS[function][:2]


def space(function):
    if function == "mixed":
        return MIXED
    return "".join(
        "  x%d: uniform(%g, %g)\n" % (i, lo, hi)
        for i, (lo, hi) in enumerate(REALS[function][2])
    )


def suggest(function, trial):
    """The same space in Optuna's words."""
    if function != "mixed":
        return {
            "x%d" % i: trial.suggest_float("x%d" % i, lo, hi)
            for i, (lo, hi) in enumerate(REALS[function][2])
        }
    p = {
        "layer": trial.suggest_categorical("layer", list(LAYERS)),
        "unit": trial.suggest_categorical("unit", list(UNITS)),
        "depth": trial.suggest_int("depth", 1, 16),
        "lr": trial.suggest_float("lr", 1e-6, 1, log=True),
        "decay": trial.suggest_float("decay", 1e-8, 1e-1, log=True),
        "optimizer": trial.suggest_categorical("optimizer", ["sgd", "adam"]),
    }
    if p["optimizer"] == "sgd":
        p["momentum"] = trial.suggest_float("momentum", 0, 0.99)
    return p


def asked(rung, sweep, evaluations, evaluate):
    """What evaluate(params) gave, the metrics of a trial, for all trials of a sweep of one
    step, one after another."""
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, "sweep.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("command: 'true'\nschedule: {method: none, max_t: 1}\n" + sweep)
        engine = subprocess.Popen(
            [rung, "asktell", path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            bufsize=1,
        )

        def say(line):
            engine.stdin.write(json.dumps(line) + "\n")
            engine.stdin.flush()
            answer = json.loads(engine.stdout.readline())
            if "error" in answer:
                raise RuntimeError(answer["error"])
            return answer

        values = []
        for _ in range(evaluations):
            work = say({"op": "ask"})
            values.append(evaluate(work["params"]))
            say({"op": "report", "trial": work["trial"], "step": 1, "metrics": values[-1]})
        engine.stdin.close()
        if engine.wait() != 0:
            raise RuntimeError("rung asktell: status %d" % engine.returncode)
    return values


def values_of_ours(rung, function, searcher, seed, evaluations):
    f = objective(function)[0]
    sweep = "metric: y\nseed: %d\nspace:\n%ssearch: %s, trials: %d}\n" % (
        seed,
        space(function),
        OURS[searcher],
        evaluations,
    )
    return [m["y"] for m in asked(rung, sweep, evaluations, lambda p: {"y": f(p)})]


def values_of_theirs(function, searcher, seed, evaluations):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = {
        "optuna-tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        "optuna-tpe-univariate": lambda: optuna.samplers.TPESampler(
            seed=seed, multivariate=False
        ),
        "optuna-gp": lambda: optuna.samplers.GPSampler(seed=seed),
        "optuna-cmaes": lambda: optuna.samplers.CmaEsSampler(seed=seed),
    }[searcher]()
    study = optuna.create_study(sampler=sampler)
    f = objective(function)[0]
    study.optimize(lambda trial: f(suggest(function, trial)), n_trials=evaluations)
    return [trial.value for trial in study.trials]


def regrets(job):
    rung, function, searcher, seed, evaluations = job
    if searcher in OURS:
        values = values_of_ours(rung, function, searcher, seed, evaluations)
    else:
        values = values_of_theirs(function, searcher, seed, evaluations)
    least = objective(function)[1]
    return [min(values[:n]) - least for n in AT if n <= evaluations]


def median(values):
    v = sorted(values)
    return (v[(len(v) - 1) // 2] + v[len(v) // 2]) / 2


def interval(values, rng, times=2000):
    """Of the median, 95 %, by bootstrap percentiles."""
    medians = sorted(median(rng.choices(values, k=len(values))) for _ in range(times))
    return medians[int(0.025 * times)], medians[int(0.975 * times)]


def line(function, searcher, table, rng):
    cells = [
        "%.3g [%.3g, %.3g]" % ((median(at),) + interval(at, rng)) for at in zip(*table)
    ]
    return "%-10s %-22s " % (function, searcher) + " ".join("%-26s" % c for c in cells)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rung", help="the program")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--functions", default=",".join(FUNCTIONS))
    parser.add_argument("--searchers", default=",".join(OURS))
    parser.add_argument("--optuna", action="store_true", help="Optuna's TPE and CMA-ES, too (for the latter it needs cmaes)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    functions, searchers = args.functions.split(","), args.searchers.split(",")
    if args.optuna:
        searchers += [s for s in THEIRS if s != "optuna-gp" and s not in searchers]
    for known, given in ((FUNCTIONS, functions), ([*OURS, *THEIRS], searchers)):
        for name in given:
            if name not in known:
                parser.error("%s is none of %s" % (name, ", ".join(known)))
    if args.evaluations < AT[0] or args.seeds < 1:
        parser.error("at least %d evaluations and one seed" % AT[0])
    shown = [n for n in AT if n <= args.evaluations]
    print("%d seeds: median [95 %% interval] of the best value minus the minimum" % args.seeds)
    print(
        "%-10s %-22s " % ("function", "searcher")
        + " ".join("%-26s" % ("after %d" % n) for n in shown)
    )
    rng = random.Random(1)
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        for function in functions:
            for searcher in searchers:
                jobs = [
                    (args.rung, function, searcher, seed, args.evaluations)
                    for seed in range(args.seeds)
                ]
                table = list(pool.map(regrets, jobs))
                print(line(function, searcher, table, rng).rstrip(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
