#!/usr/bin/python3
"""What the Pareto fronts that searchers find lack of the true one, on functions of two
objectives, one trial at a time: the hypervolume of the true front minus that of the front
of the first 50, 100 and 200 trials, as the median over seeds with a 95 % bootstrap
interval. Our searchers are asked through `rung asktell`; with --optuna those of Optuna too,
which the interpreter must have.

    tests/quality/pareto.py ./rung --seeds 100 --optuna

One line for each function and searcher; less is better. The functions are ZDT1 (a convex
front) and ZDT2 (a concave one) in six parameters (Zitzler, Deb, Thiele, "Comparison of
multiobjective evolutionary algorithms: empirical results", Evolutionary Computation 8(2),
2000), but with the front at 0.3 of the other five instead of at the edge, 0."""
import argparse
import concurrent.futures
import math
import os
import random
import sys

from regret import AT, asked, interval, median

OURS = {
    "random": "{method: random",
    "sobol": "{method: sobol",
    "tpe": "{method: tpe",
    "tpe-univariate": "{method: tpe, multivariate: false",
}
THEIRS = ("optuna-tpe", "optuna-tpe-univariate", "optuna-nsga2")
PARAMETERS = ["x%d" % i for i in range(6)]
WORST = (1.1, 10.0)  # what hypervolumes are measured from
# the second objective of the front, and the hypervolume of it all
FUNCTIONS = {
    "zdt1": (lambda f, g: g * (1 - math.sqrt(f / g)), 0.1 * 10 + 10 - 1 + 2 / 3),
    "zdt2": (lambda f, g: g * (1 - (f / g) ** 2), 0.1 * 10 + 10 - 1 + 1 / 3),
}


def objectives(function, p):
    away = sum(abs(p[x] - 0.3) / 0.7 for x in PARAMETERS[1:]) / (len(PARAMETERS) - 1)
    return p["x0"], FUNCTIONS[function][0](p["x0"], 1 + 9 * away)


def hypervolume(points):
    """The area that two objectives, both to be small, dominate below WORST."""
    area, least = 0.0, WORST[1]
    for a, b in sorted(points):
        if a < WORST[0] and b < least:
            area += (WORST[0] - a) * (least - b)
            least = b
    return area


def points_of_ours(rung, function, searcher, seed, evaluations):
    space = "".join("  %s: uniform(0, 1)\n" % x for x in PARAMETERS)
    sweep = "metrics: {a: min, b: min}\nseed: %d\nspace:\n%ssearch: %s, trials: %d}\n" % (
        seed,
        space,
        OURS[searcher],
        evaluations,
    )
    said = asked(rung, sweep, evaluations, lambda p: dict(zip("ab", objectives(function, p))))
    return [(m["a"], m["b"]) for m in said]


def points_of_theirs(function, searcher, seed, evaluations):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = {
        "optuna-tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        "optuna-tpe-univariate": lambda: optuna.samplers.TPESampler(seed=seed),
        "optuna-nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed),
    }[searcher]()
    study = optuna.create_study(sampler=sampler, directions=["minimize", "minimize"])
    study.optimize(
        lambda trial: objectives(
            function, {x: trial.suggest_float(x, 0, 1) for x in PARAMETERS}
        ),
        n_trials=evaluations,
    )
    return [tuple(trial.values) for trial in study.trials]


def lacks(job):
    rung, function, searcher, seed, evaluations = job
    if searcher in OURS:
        points = points_of_ours(rung, function, searcher, seed, evaluations)
    else:
        points = points_of_theirs(function, searcher, seed, evaluations)
    return [FUNCTIONS[function][1] - hypervolume(points[:n]) for n in AT if n <= evaluations]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rung", help="the program")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--searchers", default=",".join(OURS))
    parser.add_argument("--optuna", action="store_true", help="Optuna's TPE and NSGA-II, too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    searchers = args.searchers.split(",") + (list(THEIRS) if args.optuna else [])
    for name in searchers:
        if name not in (*OURS, *THEIRS):
            parser.error("%s is none of %s" % (name, ", ".join((*OURS, *THEIRS))))
    if args.evaluations < AT[0] or args.seeds < 1:
        parser.error("at least %d evaluations and one seed" % AT[0])
    print("%d seeds: median [95 %% interval] of the hypervolume that is lacking" % args.seeds)
    shown = ["%-26s" % ("after %d" % n) for n in AT if n <= args.evaluations]
    print(("%-10s %-22s " % ("function", "searcher") + " ".join(shown)).rstrip())
    rng = random.Random(1)
    with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
        for function in FUNCTIONS:
            for searcher in searchers:
                jobs = [
                    (args.rung, function, searcher, seed, args.evaluations)
                    for seed in range(args.seeds)
                ]
                cells = [
                    "%.3g [%.3g, %.3g]" % ((median(at),) + interval(at, rng))
                    for at in zip(*pool.map(lacks, jobs))
                ]
                cells = " ".join("%-26s" % cell for cell in cells)
                print(("%-10s %-22s " % (function, searcher) + cells).rstrip(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
