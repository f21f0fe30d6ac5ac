#include "store/event_line.h"

#include <stddef.h>

/* A key has at most 60 bytes or so: key_len has room. */
#define FIELD(key, type, member, otherwise)                                              \
    {                                                                                    \
        ",\"" key "\":", sizeof(",\"" key "\":") - 1, FIELD_##type, ELSE_##otherwise,    \
            offsetof(struct event, member)                                               \
    }

static const struct field epoch_fields[] = {
    FIELD("format", FORMAT, kind, FAIL),
    FIELD("epoch", I32, epoch.epoch, FAIL),
    FIELD("after", I32, epoch.after, NOTHING),
    FIELD("bytes", I64, epoch.after_bytes, NOTHING),
    FIELD("events", I64, epoch.after_events, NOTHING),
    FIELD("name", TEXT, epoch.name, NOTHING),
    FIELD("version", TEXT, epoch.version, NOTHING),
    FIELD("host", TEXT, epoch.host, NOTHING),
    FIELD("user", TEXT, epoch.user, NOTHING),
    FIELD("command", TEXT, epoch.command, NOTHING),
    FIELD("git", TEXT, epoch.git, NOTHING),
    FIELD("pid", I64, epoch.pid, NOTHING),
    FIELD("file", HEX, epoch.file_hash, NOTHING),
};

static const struct field trial_fields[] = {
    FIELD("trial", I32, trial, FAIL),
    FIELD("bracket", I32, drawn.bracket, FAIL),
    FIELD("parent", I32, drawn.parent, MINUS1),
    FIELD("source", I32, drawn.source, NOTHING),
    FIELD("start", I64, drawn.start, NOTHING),
    FIELD("replaces", I32, drawn.replaces, MINUS1),
    FIELD("given", I32, drawn.given, NOTHING),
    FIELD("tries", U32, drawn.tries, NOTHING),
    FIELD("cursor", I64, drawn.cursor, NOTHING),
    FIELD("params", JSON, drawn.params, FAIL),
    FIELD("u", NUMBERS, drawn.u, NOTHING),
};

static const struct field start_fields[] = {
    FIELD("trial", I32, trial, FAIL),
    FIELD("attempt", I32, attempt, FAIL),
    FIELD("nonce", HEX, start.nonce, FAIL),
    FIELD("agent", HEX, start.agent, FAIL),
    FIELD("slot", I32, start.slot, FAIL),
    FIELD("ask", U32, start.ask, FAIL),
    FIELD("start", I64, start.start, FAIL),
    FIELD("until", I64, start.until, FAIL),
    FIELD("from", I32, start.from, MINUS1),
    FIELD("final", BOOL, start.final, NOTHING),
    FIELD("override", JSON, start.override, NOTHING),
};

static const struct field report_fields[] = {
    FIELD("trial", I32, trial, FAIL),
    FIELD("attempt", I32, attempt, FAIL),
    FIELD("number", U32, report.number, FAIL),
    FIELD("step", I64, report.step, FAIL),
    FIELD("elapsed", NUM, report.elapsed, NAN),
    FIELD("metrics", METRICS, report.metrics, FAIL),
    FIELD("decision", DECISION, report.decision, FAIL),
    FIELD("rung", I32, report.rung, MINUS1),
};

static const struct field saved_fields[] = {
    FIELD("trial", I32, trial, FAIL),
    FIELD("attempt", I32, attempt, FAIL),
    FIELD("number", U32, saved.number, FAIL),
    FIELD("step", I64, saved.step, FAIL),
};

static const struct field end_fields[] = {
    FIELD("trial", I32, trial, FAIL),
    FIELD("attempt", I32, attempt, FAIL),
    FIELD("outcome", OUTCOME, end.outcome, FAIL),
    FIELD("saved", I64, end.saved, MINUS1),
    FIELD("exit", I32, end.facts.exit_code, MINUS1),
    FIELD("signal", I32, end.facts.signal, NOTHING),
    FIELD("oom", BOOL, end.facts.oom, NOTHING),
    FIELD("cause", CAUSE, end.facts.cause, NOTHING),
    FIELD("answered", DECISION, end.facts.answered, NOTHING),
    FIELD("last_step", I64, end.facts.last_step, NOTHING),
    FIELD("reports", U32, end.facts.reports, NOTHING),
    FIELD("started", NUM, end.facts.started, NAN),
    FIELD("ended", NUM, end.facts.ended, NAN),
    FIELD("cpu_seconds", NUM, end.facts.cpu_seconds, NAN),
    FIELD("max_rss", NUM, end.facts.max_rss, NAN),
    FIELD("gpu_seconds", NUM, end.facts.gpu_seconds, NAN),
    FIELD("gpu_util", NUM, end.facts.gpu_util, NAN),
    FIELD("gpu_mem_peak", NUM, end.facts.gpu_mem_peak, NAN),
    FIELD("gpu_energy", NUM, end.facts.gpu_energy, NAN),
    FIELD("energy", NUM, end.facts.energy, NAN),
    FIELD("node", TEXT, end.facts.node, NOTHING),
    FIELD("slurm_job", TEXT, end.facts.slurm_job, NOTHING),
    FIELD("slurm_step", TEXT, end.facts.slurm_step, NOTHING),
    FIELD("slurm_state", TEXT, end.facts.slurm_state, NOTHING),
    FIELD("note", TEXT, end.facts.note, NOTHING),
};

static const struct field why_fields[] = {
    FIELD("trial", I32, trial, MINUS1),
    FIELD("reason", TEXT, why.reason, NOTHING),
};

static const struct field set_fields[] = {
    FIELD("key", TEXT, set.key, FAIL),
    FIELD("value", TEXT, set.value, FAIL),
};

static const struct field job_fields[] = {
    FIELD("job", TEXT, job.job, FAIL),       FIELD("change", TEXT, job.change, FAIL),
    FIELD("agent", HEX, job.agent, NOTHING), FIELD("host", TEXT, job.host, NOTHING),
    FIELD("slots", I32, job.slots, NOTHING),
};

static const struct field account_fields[] = {
    FIELD("trial", I32, trial, FAIL),
    FIELD("attempt", I32, attempt, FAIL),
    FIELD("slurm_job", TEXT, account.job, NOTHING),
    FIELD("slurm_step", TEXT, account.step, NOTHING),
    FIELD("slurm_state", TEXT, account.state, NOTHING),
    FIELD("node", TEXT, account.node, NOTHING),
    FIELD("elapsed", NUM, account.elapsed, NAN),
    FIELD("cpu_seconds", NUM, account.cpu_seconds, NAN),
    FIELD("max_rss", NUM, account.max_rss, NAN),
    FIELD("energy", NUM, account.energy, NAN),
};

static const struct field known_fields[] = {
    FIELD("trial", I32, trial, FAIL),
    FIELD("failed", BOOL, known.failed, NOTHING),
    FIELD("more", BOOL, known.more, NOTHING),
    FIELD("params", JSON, known.params, FAIL),
    FIELD("values", NUMBERS, known.values, NOTHING),
};

#define LIST(fields)                                                                     \
    {                                                                                    \
        (fields), sizeof(fields) / sizeof((fields)[0])                                   \
    }

struct fields event_fields(enum event_kind kind)
{
    static const struct fields of[EVENT_KINDS] = {
        [EVENT_EPOCH] = LIST(epoch_fields),     [EVENT_TRIAL] = LIST(trial_fields),
        [EVENT_START] = LIST(start_fields),     [EVENT_REPORT] = LIST(report_fields),
        [EVENT_SAVED] = LIST(saved_fields),     [EVENT_END] = LIST(end_fields),
        [EVENT_STOP] = LIST(why_fields),        [EVENT_PAUSE] = LIST(why_fields),
        [EVENT_RESUME] = LIST(why_fields),      [EVENT_SET] = LIST(set_fields),
        [EVENT_JOB] = LIST(job_fields),         [EVENT_FINISH] = LIST(why_fields),
        [EVENT_ACCOUNT] = LIST(account_fields), [EVENT_KNOWN] = LIST(known_fields),
    };

    return of[kind];
}
