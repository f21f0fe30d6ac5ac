#!/usr/bin/python3
"""Does the simulation find mistakes? Each mutant below is the real code with one small
mistake; the simulation must break on every one.

usage: mutants.py SOURCE WORK [NAME...]   (`make mutants`)

SOURCE is copied to WORK and built there once; each mutant then changes one place, is built,
runs fresh seeds until it breaks, at most SEEDS of them, then the cases in `kept`, since
some mistakes need too rare a chance, and is changed back.
"""

import os
import re
import shutil
import subprocess
import sys

SEEDS = int(os.environ.get("SEEDS", "3000"))

# name, file, and what is there with what the mutant has instead, once or more often
MUTANTS = [
    # the journal
    ("no fsync at a commit", "store/journal.c",
     "if (!rc && fsync(j->fd) < 0)", "if (0)"),
    ("fsync once more after it failed", "store/journal.c",
     "if (!rc && fsync(j->fd) < 0)", "if (!rc && fsync(j->fd) < 0 && fsync(j->fd) < 0)"),
    ("no fsync of the journal's directory", "store/journal.c",
     "rc = dir_sync(j->dir, &j->failed);", "rc = 0;"),
    ("no fsync of what a predecessor left", "store/journal.c",
     "if (fsync(l->fd) < 0)", "if (0)"),
    ("a predecessor is read beyond what was synced", "store/journal.c",
     "    l->limit = size;\n", ""),
    ("no look for a newer epoch at a commit", "store/journal.c",
     "    if (!rc)\n        rc = look_for_newer(j);\n    if (rc && e)\n        *e = j->failed;\n"
     "    return rc;\n}\n\n/* ---- beginning",
     "    if (rc && e)\n        *e = j->failed;\n    return rc;\n}\n\n/* ---- beginning"),
    ("an epoch's file is not created exclusively", "store/journal.c",
     "O_WRONLY | O_CREAT | O_EXCL | O_APPEND", "O_WRONLY | O_CREAT | O_APPEND"),
    ("one event too few is accepted", "store/journal.c",
     "        bytes = l.offset;\n        events++;",
     "        bytes = l.offset;\n        if (events++ == 7)\n            break;"),
    ("a void file counts as an epoch", "store/journal_files.c",
     "        if (rc == 0 && next.epoch == 0) {\n            chain->void_files++;\n"
     "            continue;\n        }\n", ""),
    ("more of a predecessor is read than was accepted", "store/journal_read.c",
     "    if (link->accepted >= 0)\n        l.limit = link->accepted;\n", ""),
    # the epoch
    ("sent before it is durable", "launcher/epoch.c",
     "    rc = journal_pending(ep->journal) ? journal_commit(ep->journal, e) : 0;\n",
     "    controller_flush(ep->controller);\n"
     "    rc = journal_pending(ep->journal) ? journal_commit(ep->journal, e) : 0;\n"),
    ("what gathers is acknowledged before its commit", "launcher/epoch.c",
     "    if (gathers(ep, timers, now))\n        return 0;",
     "    if (gathers(ep, timers, now)) {\n        controller_flush(ep->controller);\n"
     "        return 0;\n    }"),
    ("sent though the commit failed", "launcher/epoch.c",
     "    if (rc == 0)\n        controller_flush", "    if (rc != 1)\n        controller_flush"),
    ("agents of earlier epochs are forgotten", "launcher/epoch.c",
     "    expect_agents(ep);\n", ""),
    ("the first epoch is thought to be number 1", "launcher/loaded.c",
     "if (ev->epoch.after == 0)", "if (ev->epoch.epoch == 1)"),
    # the controller
    ("jobs on their way are forgotten", "launcher/controller_jobs.c",
     "((int)c->pending.n + c->asked)", "(int)c->pending.n"),
    ("a repeated report counts again", "launcher/controller_agents.c",
     "if (it->report.number <= t->last_number) {", "if (0) {"),
    ("a report is taken though one before it is missing", "launcher/controller_agents.c",
     "if (number > p->taken + 1)\n                break;", "if (0)\n                break;"),
    ("a superseded attempt's reports count", "launcher/controller_agents.c",
     "t->state == TRIAL_RUNNING && t->attempts == attempt && t->nonce == nonce;",
     "t->state == TRIAL_RUNNING;"),
    ("an old ask is served", "launcher/controller_agents.c",
     "it->ask.ask < s->ask || it->ask.ask <= s->served ||", "it->ask.ask < s->ask ||"),
    ("work that was lost on the way is never sent again", "launcher/controller_agents.c",
     "if (trial >= 0 && !names(it, trial))", "if (0)",
     "if (trial >= 0 && sweep_trial(c->sw, trial)->ask == it->ask.ask) {\n"
     "        controller_send_work(c, p, it->ask.slot, trial);\n        return;",
     "if (trial >= 0 && sweep_trial(c->sw, trial)->ask == it->ask.ask) {\n        return;"),
    ("a repeated save counts again", "launcher/controller_agents.c",
     "if (it->saved.number <= t->last_save || it->saved.step == t->saved)",
     "if (it->saved.step == t->saved)"),
    ("lost agents are never given up", "launcher/controller_jobs.c",
     "        else if (silent > s[TIMER_AGENT_SILENT] ||", "        else if (0 && silent > 0 ||"),
    ("open attempts of unknown agents do not count", "launcher/controller.c",
     "sweep_totals(c->sw)->open >= c->c.file->slots) {", "0) {"),
    ("a sweep that pauses hands out work", "sched/work.c",
     "if (sw->totals.finishing || sw->totals.pausing || sw->totals.finished)",
     "if (sw->totals.finishing || sw->totals.finished)"),
    # the agent
    ("items are thought acknowledged when they are sent", "worker/agent/agent.c",
     "        outbox_take(a->outbox, PACKET_BYTES, &a->out);",
     "        outbox_take(a->outbox, PACKET_BYTES, &a->out);\n"
     "        outbox_ack(a->outbox, outbox_next(a->outbox) - 1);"),
    ("work for an older ask is begun", "worker/agent/agent_slot.c",
     "if (it->work.ask != s->ask || !free) {", "if (!free) {"),
    ("an answer lets all go on that wait", "worker/agent/agent_slot.c",
     "if (s->waiting.v[n].needs > number && !is_final(in_force))", "if (0)"),
    ("without a controller a trial goes on at once", "worker/agent/agent_slot.c",
     "return a->c.promote ? DECISION_PAUSE : DECISION_CONTINUE;",
     "return DECISION_CONTINUE;"),
    ("below the milestone is at it, too", "worker/agent/agent_slot.c",
     "bool asks = step >= at->until &&", "bool asks = step > at->until &&"),
    # the rungs
    ("one more is in the top", "sched/halving.c",
     "return (uint32_t)eta_floor(r->reported, sw->spec->eta);",
     "return (uint32_t)eta_floor(r->reported, sw->spec->eta) + 1;"),
    ("ties go to who was recorded last", "sched/ranked.c",
     "&& order[at] < key.order)", "&& order[at] > key.order)"),
    ("failed trials keep their place in the top", "sched/rung.c",
     "passed = ranked_below(r->passed, key);", "passed = 0;"),
    ("who is handed out is not marked as promoted", "sched/sweep.c",
     "    mark_promoted(sw, t, ev->start.from);\n    if (ev->start.final)",
     "    if (ev->start.final)"),
    ("a finalist goes on while others run", "sched/work.c",
     "if (sw->open_others - probe_runs > 0 ||", "if (0 ||"),
    ("one finalist too many", "sched/work.c",
     "sw->at_max + sw->open_finalists >= sw->spec->finalists)",
     "sw->at_max + sw->open_finalists > sw->spec->finalists)"),
    ("promoted before its attempt has ended", "sched/work.c",
     "return t->state == TRIAL_PAUSED && t->bracket", "return t->bracket"),
    ("lower rungs first", "sched/halving.c",
     "x->milestone > y->milestone\n", "x->milestone < y->milestone\n"),
    ("new trials before promotions", "sched/work.c",
     "    if (promote && promotable(sw, probe, &w))\n        return w;\n"
     "    if ((trial = first_waiting(sw, &sw->fresh, true)) >= 0)",
     "    if ((trial = first_waiting(sw, &sw->fresh, true)) >= 0)"),
    ("interrupted trials come last", "sched/work.c",
     "    if ((trial = first_waiting(sw, &sw->again, false)) >= 0)\n"
     "        return take_up(sw, trial);\n    if (promote",
     "    if (promote"),
    ("the cutoff has itself in it", "sched/sweep.c",
     "    double cutoff = promote ? NAN : rung_stop_cutoff(r, sw->spec->eta);\n"
     "    enum decision d;\n",
     "    rung_record(r, turned, sw->records);\n"
     "    double cutoff = promote ? NAN : rung_stop_cutoff(r, sw->spec->eta);\n"
     "    enum decision d;\n"),
    ("NaN is promoted", "sched/sweep.c",
     "    t->value = isfinite(turned) ? turned : NAN;", "    t->value = isnan(turned) ? 0 : turned;"),
    ("a report at the milestone is below it", "sched/sweep.c",
     "->milestone > step)", "->milestone >= step)"),
    ("a repeated step is recorded", "sched/sweep.c",
     "} else if (ev->report.step < t->last_step ||\n"
     "               (ev->report.step == t->last_step && !t->merging)) {",
     "} else if (0) {"),
    ("a rung does not wait for those who come", "sched/halving.c",
     "b->rungs[k].coming > 0 ||", "0 ||"),
    ("a rung does not wait for those below", "sched/halving.c",
     "(k < r->index && !sent_on", "(0 && !sent_on"),
    ("a bracket takes more after a promotion", "sched/sweep.c",
     "closed = true;", "closed = false;"),
    ("the last bracket is never full", "sched/halving.c",
     " && !sweep_search_over(sw))", ")"),
    ("a bracket is a trial too small", "sched/halving.c",
     " + s) / (s + 1)", ") / (s + 1)"),
    ("two go on at least", "sched/halving.c",
     "n > 1 ? (uint32_t)n : 1", "n > 1 ? (uint32_t)n : 2"),
    ("a parent may be behind", "sched/pbt.c", "t->kept_rung >= rung", "t->kept_rung >= 0"),
    ("who comes first is compared with nobody", "sched/pbt.c",
     "away < places / QUARTER ||", "away < places ||"),
    ("half a population is the worst", "sched/pbt.c",
     "s.rank <= s.size - s.quarter", "s.rank <= s.size - 2 * s.quarter"),
    ("who has diverged may stay", "sched/pbt.c",
     "(score_finite(&t->value) && s.rank", "(s.rank"),
    ("the further ones have an advantage", "sched/pbt.c",
     "counts(sw, i, t->rung);", "counts(sw, i, sw->pbt->rungs - 1);"),
    ("what was lost is a parent's checkpoint", "sched/sweep.c",
     "sw->pbt && o == OUTCOME_PAUSED && t->state", "sw->pbt && t->state"),
    ("a parent's directory is not kept", "launcher/controller_agents.c",
     "if (t->kept > 0) {", "if (t->kept > 1000000) {"),
    ("a trial begins from its parent's newest attempt", "launcher/controller_agents.c",
     "it.work.source_attempt = t->source;",
     "it.work.source_attempt = sweep_trial(c->sw, t->parent)->attempts;"),
    ("a trial may take its agent with it once more", "sched/outcome.c",
     "#define LOST_ENDS_MAX 3", "#define LOST_ENDS_MAX 4"),
    ("preemption costs a retry", "sched/sweep.c",
     "outcome_class(o) == OUTCOME_IS_FAULT &&", "outcome_class(o) != OUTCOME_IS_OWN &&"),
    ("a third walltime that was too short", "sched/sweep.c",
     "return ++t->short_ends >= 2;", "return ++t->short_ends >= 3;"),
    ("one retry too many", "sched/sweep.c",
     "return ++t->failures > sw->spec->retry_failures;",
     "return t->failures++ > sw->spec->retry_failures;"),
    ("a failed program's last step is its checkpoint", "sched/outcome.c",
     "    if (f->exit_code == 0)\n        *saved = f->last_step;\n    else if",
     "    *saved = f->last_step;\n    if (f->exit_code == 0)\n        ;\n    else if"),
]


def build(work):
    return subprocess.run(["make", "-s", "-C", f"{work}/build", "tests/sim/sim"],
                          capture_output=True, text=True)


def first_build(source, work):
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(source, work, ignore=shutil.ignore_patterns(
        "build", "build-check", ".git", "_build", "_inst", "*.log"), symlinks=True)
    os.mkdir(f"{work}/build")
    subprocess.run(["../configure", "--quiet", "--disable-shared", "CFLAGS=-O1"],
                   cwd=f"{work}/build", check=True, stdout=subprocess.DEVNULL)
    made = build(work)
    if made.returncode:
        sys.exit(made.stderr)


def changed(text, edits):
    for old, new in zip(edits[::2], edits[1::2]):
        # layout may change: white space is any
        pattern = r"\s+".join(re.escape(word) for word in old.split())
        if len(re.findall(pattern, text)) != 1:
            raise ValueError(f"is not there once: {old.strip()!r}")
        text = re.sub(pattern, lambda _: new.strip(), text)
    return text


def play(work):
    """What the simulation says to the first case that breaks, or to the last."""
    with open(f"{work}/tests/sim/kept") as f:
        cases = [line.split("#")[0].split() for line in f]
    for case in [["--seeds", str(SEEDS)]] + [c for c in cases if c]:
        result = subprocess.run([f"{work}/build/tests/sim/sim", *case, "--no-shrink"],
                                capture_output=True, text=True)
        if result.returncode:
            break
    return result


def break_one(work, file, edits):
    """What the simulation says of the mutant; or None, and why there is no mutant."""
    path = f"{work}/{file}"
    with open(path) as f:
        text = f.read()
    try:
        broken = changed(text, edits)
    except ValueError as e:
        return None, f"{file}: {e}"
    try:
        with open(path, "w") as f:
            f.write(broken)
        made = build(work)
        if made.returncode:
            return None, made.stderr
        return play(work), None
    finally:
        with open(path, "w") as f:
            f.write(text)


def main():
    source, work, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    first_build(source, work)
    good = subprocess.run([f"{work}/build/tests/sim/sim", "--seeds", "200"])
    if good.returncode:
        sys.exit("the code itself breaks")
    found = missed = 0
    for name, file, *edits in MUTANTS:
        if names and name not in names:
            continue
        result, error = break_one(work, file, edits)
        if error:
            print(f"BAD     {name}: {error}", flush=True)
            missed += 1
        elif result.returncode:
            lines = [line for line in result.stdout.splitlines() if line.startswith("seed ")]
            print(f"found   {name}: {lines[0] if lines else result.stdout}", flush=True)
            found += 1
        else:
            print(f"MISSED  {name}", flush=True)
            missed += 1
    print(f"{found} passed, {missed} failed")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
