/* The controller's loop: sockets, jobs, signals, requests and the screen around an epoch
 * (launcher/epoch.h). A round takes in all that waits, so that one fsync serves many
 * reports. */
#include "config.h"

#include "launcher/serve.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/proc.h"
#include "launcher/batch.h"
#include "launcher/cli.h"
#include "launcher/drafter.h"
#include "launcher/earlier.h"
#include "launcher/epoch.h"
#include "launcher/jobs.h"
#include "launcher/routes.h"
#include "launcher/submit.h"
#include "launcher/tidy.h"
#include "launcher/view.h"
#include "launcher/viewer.h"
#include "slurm/executor.h"
#include "slurm/script.h"
#include "slurm/succession.h"
#include "wire/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define BARREN_MAX    3     /* controllers in a row */
#define CANCEL_WINDOW 600.0 /* seconds */

/* Packets taken in before a commit, so that answers do not wait for ever under load. */
#define ROUND_PACKETS 1024
#define COPY_SHARE    0.8 /* of RESEND: no agent says the same again so soon */

struct server {
    const char *dir;
    const struct serve_options *o;
    struct epoch ep;
    struct socket *socket;
    struct executor *executor;
    bool slurm;
    struct timers timers;
    struct routes *routes; /* where socket_send() reaches agents */
    struct viewer *viewer;
    struct tidy *tidy;
    struct drafter *drafter;  /* NULL: draws of this search take no time */
    struct succession *chain; /* NULL: we are no job of one */
    bool leaving;             /* it goes on, without us */
    int signals;              /* signalfd */
    int interrupts;
    double next_request, next_tell, next_gpus;
    struct gpu_rows gpus;            /* as gpus.json has them */
    struct slurm_calls calls_before; /* of earlier controllers */
    char *no_accounts; /* why the last answer of Slurm's accounting was none; NULL */
    char **taken;      /* requests of this round, removed when it is durable */
    int status;
};

/* ---- what the controller's mind asks for ---- */

static void port_append(void *ctx, const struct event *ev, const struct verdict *v)
{
    struct server *s = ctx;

    journal_append(s->ep.journal, ev, v);
    orders_event(s->ep.sweep.orders, ev, v);
    viewer_event(s->viewer, ev, v);
    tidy_event(s->tidy, ev);
    accounts_event(s->ep.sweep.accounts, ev, s->ep.sweep.sw);
}

static void port_send(void *ctx, uint64_t agent, const char *packet, size_t n)
{
    struct server *s = ctx;
    uint64_t peer;

    if (routes_find(s->routes, agent, &peer))
        socket_send(s->socket, peer, packet, n);
}

static void port_say(void *ctx, const char *text)
{
    struct server *s = ctx;

    viewer_say(s->viewer, text);
}

static void port_submit(void *ctx, int jobs)
{
    struct server *s = ctx;

    if (s->o->submit)
        s->executor->ops->submit(s->executor, jobs);
}

static enum job_state port_job_state(void *ctx, const char *job)
{
    struct server *s = ctx;

    return s->executor->ops->state(s->executor, job);
}

static double port_job_left(void *ctx, const char *job)
{
    struct server *s = ctx;
    double ends = s->executor->ops->ends ? s->executor->ops->ends(s->executor, job) : 0;

    return ends > 0 ? fmax(0, ends - clock_wall()) : NAN;
}

static bool port_passes(void *ctx, struct slice note)
{
    struct server *s = ctx;

    return s->executor->ops->passes && s->executor->ops->passes(note);
}

static bool port_exclude(void *ctx, const char *node)
{
    struct server *s = ctx;

    return s->executor->ops->exclude && s->executor->ops->exclude(s->executor, node);
}

static void port_job_output(void *ctx, const char *job, struct str *out)
{
    struct server *s = ctx;

    if (s->executor->ops->output)
        s->executor->ops->output(s->executor, job, out);
}

/* ---- what the executor tells ---- */

static void job_submitted(void *ctx, const char *job)
{
    struct server *s = ctx;

    controller_job_submitted(s->ep.controller, job);
}

static void jobs_refused(void *ctx, int n, const char *why, bool passing)
{
    struct server *s = ctx;

    controller_jobs_refused(s->ep.controller, n, why, passing);
}

static void jobs_uncancelled(void *ctx, const char *jobs, const char *why)
{
    struct server *s = ctx;
    struct str text = STR_INIT;

    str_addf(&text,
             "jobs could not be cancelled: %s; if they are still there: scancel %s", why,
             jobs);
    if (s->viewer)
        viewer_say(s->viewer, text.p);
    else
        cli_say("%s", text.p);
    str_free(&text);
}

static void job_gone(void *ctx, const char *job, const struct job_end *end)
{
    struct server *s = ctx;

    controller_job_gone(s->ep.controller, job, end);
}

static void job_account(void *ctx, const struct account *record)
{
    struct server *s = ctx;

    accounts_record(s->ep.sweep.accounts, record);
}

static void take_account(void *ctx, struct event *ev)
{
    struct server *s = ctx;

    controller_account(s->ep.controller, ev);
}

static void job_accounts(void *ctx, const char *why, bool passing)
{
    struct server *s = ctx;

    accounts_answered(s->ep.sweep.accounts, why, passing, take_account, s);
    free(s->no_accounts);
    s->no_accounts = why ? mem_strdup(why) : NULL;
    if (why && !passing) {
        struct str text = STR_INIT;

        str_addf(&text, "%s; sweep.h5 goes without Slurm's accounting, and has all else",
                 why);
        viewer_say(s->viewer, text.p);
        str_free(&text);
    }
}

static void port_draft(void *ctx, struct draft *d)
{
    struct server *s = ctx;

    drafter_make(s->drafter, d);
}

static void take_draft(struct server *s)
{
    struct draft *made = s->drafter ? drafter_take(s->drafter) : NULL;

    if (made)
        controller_drafted(s->ep.controller, made);
}

static const struct executor_news news = {.submitted = job_submitted,
                                          .refused = jobs_refused,
                                          .uncancelled = jobs_uncancelled,
                                          .gone = job_gone,
                                          .account = job_account,
                                          .accounts = job_accounts};

/* ---- setting up ---- */

/* The git revision of the current directory, or an empty string. */
static void git_revision(struct str *out)
{
    static char git[] = "git", rev_parse[] = "rev-parse", head[] = "HEAD";
    char *const argv[] = {git, rev_parse, head, NULL};
    struct proc_result r;

    if (proc_run(argv, NULL, 2, &r, NULL) == 0 && r.exit_code == 0) {
        str_addn(out, r.out.p, r.out.len);
        while (out->len > 0 && out->p[out->len - 1] == '\n')
            str_cut(out, out->len - 1);
    }
    proc_result_free(&r);
}

static void command_line(struct str *out)
{
    struct str raw = STR_INIT;

    if (file_read("/proc/self/cmdline", 65536, &raw, NULL) == 0) {
        for (size_t i = 0; i < raw.len; i += strlen(raw.p + i) + 1) {
            str_add(out, i ? " " : "");
            shell_quote(out, raw.p + i);
        }
    }
    str_free(&raw);
}

static int begin_epoch(struct server *s, struct err *e)
{
    struct event ev = {.kind = EVENT_EPOCH, .trial = -1, .time = clock_wall()};
    const struct passwd *pw = getpwuid(getuid());
    struct str command = STR_INIT, git = STR_INIT;
    char host[256] = "?";
    int64_t torn = 0;
    int rc;

    gethostname(host, sizeof(host) - 1);
    command_line(&command);
    git_revision(&git);
    ev.epoch.name = slice_of(s->o->name);
    ev.epoch.version = SLICE(PACKAGE_VERSION);
    ev.epoch.host = slice_of(host);
    ev.epoch.user = slice_of(pw ? pw->pw_name : "?");
    ev.epoch.command = slice_of(command.p);
    ev.epoch.git = slice_of(git.p);
    ev.epoch.pid = getpid();
    rc = epoch_begin(&s->ep, s->dir, &ev, &torn, e);
    if (torn > 0)
        fprintf(stderr,
                "rung: the journal ended in %lld bytes that were never durable; nothing "
                "was acted on by them, and they are set aside\n",
                (long long)torn);
    str_free(&command);
    str_free(&git);
    return rc;
}

static int serve_socket(struct server *s, struct err *e)
{
    struct controller_file *who = &s->ep.who;
    struct controller_file before;
    struct key_pair own, agents;
    int rc = keys_load(s->dir, &agents, e);

    if (rc == 0)
        rc = key_pair_make(&own, e);
    if (rc == 0)
        rc = socket_serve(&s->socket, &own, agents.public_key, !s->slurm, e);
    if (rc != 0)
        return rc;
    if (controller_file_read(s->dir, &before, NULL) == 0)
        who->calls = s->calls_before = before.calls;
    memcpy(who->public_key, own.public_key, sizeof(who->public_key));
    snprintf(who->address, sizeof(who->address), "%s", socket_address(s->socket));
    gethostname(who->host, sizeof(who->host) - 1);
    who->pid = getpid();
    who->pid_start = proc_start_time(getpid());
    who->since = clock_wall();
    snprintf(who->state, sizeof(who->state), "running");
    return controller_file_write(s->dir, who, e);
}

/* What `--set` and `--slots` change counts for the agents, too; the controller journals
 * it (set_up_controller()). */
static int apply_sets(struct server *s, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < s->o->n_sets; i++) {
        const struct request *r = &s->o->sets[i];
        struct str text = STR_INIT;

        rc = sweepfile_set(s->ep.sweep.file, r->key, r->value, e);
        str_addf(&text, "%s=%s", r->key, r->value);
        vec_push(&s->ep.sweep.settings, str_take(&text));
    }
    return rc;
}

static int make_executor(struct server *s, struct err *e)
{
    const struct jobs_setup setup = {
        .sweep = &s->ep.sweep, .timers = &s->timers, .news = &news, .ctx = s};
    char *path = script_path(s->dir);

    s->slurm = s->o->executor == EXECUTOR_SLURM ||
               (s->o->executor == EXECUTOR_AS_BEFORE && file_exists(path));
    free(path);
    return s->slurm
               ? jobs_slurm(&setup, journal_epoch(s->ep.journal) == 1, &s->executor, e)
               : jobs_local(&setup, &s->executor, e);
}

static int set_up_controller(struct server *s, struct err *e)
{
    const struct controller_port port = {.append = port_append,
                                         .send = port_send,
                                         .submit = port_submit,
                                         .job_state = port_job_state,
                                         .job_left = port_job_left,
                                         .passes = port_passes,
                                         .exclude = port_exclude,
                                         .job_output = port_job_output,
                                         .draft = s->drafter ? port_draft : NULL,
                                         .say = port_say};
    struct controller_config c = {.release = PACKAGE_VERSION,
                                  .slots_per_job = s->executor->ops->slots_per_job,
                                  .keeps_idle = s->executor->ops->keeps_idle,
                                  .steps =
                                      s->slurm ? batch_steps(s->ep.sweep.file) : STEPS_NO,
                                  .timers = s->timers};
    const struct sweep_totals *n = sweep_totals(s->ep.sweep.sw);
    int rc = 0;

    /* A finished one without more to do is only wound up: its controller died at that. */
    epoch_control(&s->ep, &c, s->o->resume && (n->pausing || s->o->n_sets > 0), &port, s,
                  clock_mono(), clock_wall());
    for (size_t i = 0; rc == 0 && i < s->o->n_sets; i++)
        rc = controller_set(s->ep.controller, s->o->sets[i].key, s->o->sets[i].value, e);
    return rc;
}

static int watch_signals(struct server *s, struct err *e)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return s->signals < 0 ? err_sys(e, "signalfd") : 0;
}

static int set_timers(struct server *s, struct err *e)
{
    const char *text = getenv("RUNG_TIMERS");

    timers_default(&s->timers);
    if (text && timers_parse(&s->timers, text) != 0)
        return err_set(e, ERR_INVAL, "RUNG_TIMERS: cannot be read: %s", text);
    return 0;
}

static int set_up(struct server *s, struct err *e)
{
    int rc = watch_signals(s, e);

    if (rc == 0)
        rc = set_timers(s, e);
    if (rc == 0)
        rc = begin_epoch(s, e);
    if (rc == 0)
        rc = apply_sets(s, e);
    if (rc == 0)
        rc = make_executor(s, e);
    if (rc == 0)
        rc = serve_socket(s, e);
    if (rc != 0)
        return rc;
    s->routes = routes_new(COPY_SHARE * s->timers.s[TIMER_RESEND]);
    s->viewer = viewer_new(&s->ep.sweep, &s->ep.who, &s->gpus, s->o->quiet,
                           journal_epoch(s->ep.journal), s->timers.s[TIMER_VIEW]);
    s->tidy = tidy_new(s->dir, s->ep.sweep.sw, s->ep.sweep.file);
    if (search_by_model(s->ep.sweep.file->spec.search) && !(s->drafter = drafter_new(e)))
        return ERR_IO;
    return set_up_controller(s, e);
}

/* ---- one round ---- */

/* Our job is taken away, and the next one goes on. Unless that happens again and again,
 * which a person or a site means. */
static void evicted(struct server *s)
{
    double now = clock_wall(), ends = s->chain ? succession_ends(s->chain) : 0;
    bool walltime = ends > 0 && now > ends - s->timers.s[TIMER_WALLTIME];
    bool again = now - s->ep.sweep.last_evicted < CANCEL_WINDOW &&
                 !(s->chain && succession_preempted(s->chain));

    s->leaving = true;
    if (walltime)
        return;
    controller_evicted(s->ep.controller, s->o->job);
    if (again)
        controller_trouble(s->ep.controller,
                           "its controllers were cancelled twice within 10 minutes, so "
                           "somebody wants it to end");
}

static void take_signals(struct server *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        if (s->o->job && info.ssi_signo == SIGTERM) {
            evicted(s);
        } else if (s->interrupts++ == 0) {
            s->status = info.ssi_signo == SIGINT ? EXIT_INTERRUPTED : EXIT_GOOD;
            controller_pause(s->ep.controller, info.ssi_signo == SIGINT
                                                   ? "interrupted by Ctrl-C"
                                                   : "ended by a signal");
            viewer_say(s->viewer, "running trials save at their next report; Ctrl-C once "
                                  "more ends them at once");
        } else {
            controller_interrupt(s->ep.controller);
        }
    }
}

static void take_setting(struct server *s, const char *key, const char *value)
{
    struct str text = STR_INIT;
    struct err e = {0};

    if (controller_set(s->ep.controller, key, value, &e) != 0) {
        viewer_say(s->viewer, e.text);
        return;
    }
    str_addf(&text, "%s=%s", key, value);
    vec_push(&s->ep.sweep.settings, str_take(&text)); /* for agents to come */
    if (s->slurm && jobs_write_script(&s->ep.sweep, &e) != 0)
        viewer_say(s->viewer, e.text);
}

static void take_request(void *ctx, const struct request *r, const char *bad)
{
    struct server *s = ctx;
    struct str text = STR_INIT;

    if (!r) {
        str_addf(&text, "a request could not be read and was set aside: %s", bad);
        viewer_say(s->viewer, text.p);
    } else if (r->op == REQUEST_SET) {
        take_setting(s, r->key, r->value);
    } else if (r->op == REQUEST_RESUME) {
        s->ep.sweep.barren_epochs = 0; /* something was mended */
        if (controller_state(s->ep.controller) != CONTROLLER_RUNNING)
            controller_resume(s->ep.controller, "rung resume");
    } else {
        str_addf(&text, "rung %s by %s", r->op == REQUEST_STOP ? "stop" : "stop --pause",
                 r->who ? r->who : "?");
        if (r->op == REQUEST_STOP)
            controller_stop(s->ep.controller, r->trial, text.p);
        else
            controller_pause(s->ep.controller, text.p);
    }
    str_free(&text);
}

static void take_requests(struct server *s, double now)
{
    if (now < s->next_request)
        return;
    s->next_request = now + s->timers.s[TIMER_REQUESTS];
    requests_read(s->dir, take_request, s, &s->taken, NULL);
}

static int take_packets(struct server *s, double now, struct err *e)
{
    struct slice packet;
    uint64_t peer, agent;
    int rc = 0;

    for (int n = 0; n < ROUND_PACKETS; n++) {
        rc = socket_receive(s->socket, &peer, &packet, e);
        if (rc <= 0)
            break;
        rc = 0;
        agent = controller_packet(s->ep.controller, packet.p, packet.len);
        if (agent != 0)
            routes_heard(s->routes, agent, peer, packet.p, packet.len, now);
    }
    return rc;
}

/* How often Slurm was called, as far as the executor knows. */
static void count_calls(struct server *s)
{
    struct slurm_calls *calls = &s->ep.who.calls;

    if (!s->executor->ops->calls)
        return;
    s->executor->ops->calls(s->executor, &calls->polling, &calls->others);
    calls->polling += s->calls_before.polling;
    calls->others += s->calls_before.others;
    calls->steps = s->calls_before.steps + controller_steps(s->ep.controller);
}

/* What others are to know of us, beside who we are. */
static void tell(struct server *s, double now)
{
    struct controller_file *who = &s->ep.who;
    const char *note = controller_refusal(s->ep.controller);

    if (strncmp(who->note, note, sizeof(who->note) - 1) != 0) {
        snprintf(who->note, sizeof(who->note), "%s", note);
        s->ep.news = true;
    }
    if (now >= s->next_tell) {
        struct slurm_calls before = who->calls;

        s->next_tell = now + s->timers.s[TIMER_TELL];
        count_calls(s);
        s->ep.news |= memcmp(&before, &who->calls, sizeof(before)) != 0;
    }
}

/* How busy GPUs are, for who looks. */
static void tell_gpus(struct server *s, double now)
{
    bool were = s->gpus.n > 0;

    if (now < s->next_gpus)
        return;
    s->next_gpus = now + s->timers.s[TIMER_BEAT];
    controller_gpus(s->ep.controller, &s->gpus);
    if (were || s->gpus.n > 0)
        gpu_rows_write(s->dir, clock_wall(), &s->gpus, NULL); /* or it is not shown */
}

static int commit(struct server *s, double now, struct err *e)
{
    int rc = epoch_commit(&s->ep, &s->timers, now, e);

    if (rc == 0) {
        requests_remove(s->taken);
        s->taken = NULL;
    }
    return rc;
}

static int serve_round(struct server *s, struct err *e)
{
    struct pollfd fds[2] = {{.fd = s->signals, .events = POLLIN}, {.events = POLLIN}};
    double now = clock_mono(), until = epoch_deadline(&s->ep);
    int rc, n = 1;

    if (s->next_request < until)
        until = s->next_request;
    if (s->chain && succession_deadline(s->chain) < until)
        until = succession_deadline(s->chain);
    if (s->drafter)
        fds[n++].fd = drafter_fd(s->drafter);
    rc = socket_wait(s->socket, fds, n, until > now ? until - now : 0, e);
    if (rc < 0)
        return rc;
    now = clock_mono();
    controller_clock(s->ep.controller, now, clock_wall());
    if ((rc = epoch_announce(&s->ep, &s->timers, now, e)) != 0 ||
        (rc = take_packets(s, now, e)) < 0)
        return rc;
    take_signals(s);
    take_requests(s, now);
    take_draft(s);
    s->executor->ops->poll(s->executor);
    if (s->chain)
        succession_poll(s->chain);
    accounts_ask(s->ep.sweep.accounts, s->executor, s->timers.s[TIMER_ACCOUNT], now,
                 false);
    controller_tick(s->ep.controller);
    tell(s, now);
    tell_gpus(s, now);
    if ((rc = commit(s, now, e)) != 0)
        return rc;
    viewer_tick(s->viewer, s->ep.journal, controller_slots(s->ep.controller),
                controller_state(s->ep.controller));
    tidy_some(s->tidy);
    return 0;
}

/* ---- the end ---- */

static const char *state_word(const struct server *s)
{
    return controller_state(s->ep.controller) == CONTROLLER_FINISHED ? "finished"
                                                                     : "paused";
}

static int exit_status(const struct server *s)
{
    const struct sweep_totals *n = sweep_totals(s->ep.sweep.sw);

    if (controller_state(s->ep.controller) == CONTROLLER_PAUSED)
        return controller_troubled(s->ep.controller) ? EXIT_FAILED : s->status;
    return n->best >= 0 || n->finishing ? EXIT_GOOD : EXIT_FAILED;
}

static void cancel_job(void *ctx, const char *job)
{
    struct server *s = ctx;

    s->executor->ops->cancel(s->executor, job);
}

static bool signalled(struct server *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo != SIGCHLD)
            return true;
    }
    return false;
}

/* What Slurm knows of the last attempts comes some seconds after their ends. Nothing else
 * happens any more, and who is in a hurry ends this by Ctrl-C. */
static int last_accounts(struct server *s, struct err *e)
{
    double now = clock_mono(), end = now + s->timers.s[TIMER_LAST_ACCOUNT];
    struct accounts *a = s->ep.sweep.accounts;
    struct pollfd fds[1] = {{.fd = s->signals, .events = POLLIN}};
    int rc = 0;

    if (!s->executor->ops->account)
        return 0;
    while (rc == 0 && accounts_open(a) && now < end && !signalled(s)) {
        controller_clock(s->ep.controller, now, clock_wall());
        s->executor->ops->poll(s->executor);
        accounts_ask(a, s->executor, s->timers.s[TIMER_LAST_ACCOUNT] / 8, now, true);
        if (journal_pending(s->ep.journal))
            rc = journal_commit(s->ep.journal, e);
        viewer_tick(s->viewer, s->ep.journal, controller_slots(s->ep.controller),
                    controller_state(s->ep.controller));
        poll(fds, 1, 50);
        now = clock_mono();
    }
    if (rc == 0 && accounts_open(a) && s->no_accounts) {
        struct str text = STR_INIT;

        str_addf(&text,
                 "%s; sweep.h5 goes without what it would say of the last attempts",
                 s->no_accounts);
        viewer_say(s->viewer, text.p);
        str_free(&text);
    }
    return rc;
}

static void say_calls(struct server *s)
{
    const struct slurm_calls *calls = &s->ep.who.calls;
    struct str text = STR_INIT;

    if (!s->executor->ops->calls)
        return;
    count_calls(s);
    str_addf(&text, "Slurm was called %lld times to look after jobs, %lld times for else",
             (long long)calls->polling, (long long)calls->others);
    viewer_say(s->viewer, text.p);
    str_free(&text);
}

/* Nobody is to go on. */
static void end_chain(struct server *s)
{
    char *name;
    struct err e = {0};

    succession_free(s->chain);
    s->chain = NULL;
    if (!submit_has_chain(s->dir))
        return;
    name = submit_chain_name(s->dir);
    if (succession_cancel(name, &e) != 0) {
        viewer_say(s->viewer, e.text);
        viewer_say(s->viewer, "a job of the next controller may wait still; it will find "
                              "nothing to do");
    }
    free(name);
}

/* The journal has everything; agents look for the next controller. */
static void leave(struct server *s)
{
    struct err e = {0};

    count_calls(s);
    snprintf(s->ep.who.state, sizeof(s->ep.who.state), "waiting");
    if (controller_file_write(s->dir, &s->ep.who, &e) != 0)
        cli_say("%s", e.text);
    if (s->chain) /* it may have begun just now */
        succession_hurry(s->chain);
    viewer_say(s->viewer, "this controller's job is taken away; the next one goes on");
    viewer_stop(s->viewer);
}

static void wind_up(struct server *s)
{
    const char *reason = controller_reason(s->ep.controller);
    struct err e = {0};

    if (!*reason && s->ep.sweep.why_paused)
        reason = s->ep.sweep.why_paused; /* it was paused before */
    end_chain(s);
    say_calls(s);
    *s->ep.who.note = '\0';
    if (controller_state(s->ep.controller) == CONTROLLER_FINISHED)
        tidy_all(s->tidy);
    s->gpus.n = 0;
    gpu_rows_write(s->dir, clock_wall(), &s->gpus, NULL);
    viewer_end(s->viewer, s->ep.journal, state_word(s), reason, s->o->json);
    /* last: where it says that the sweep is over, nothing is left to be done */
    snprintf(s->ep.who.state, sizeof(s->ep.who.state), "%s", state_word(s));
    if (controller_file_write(s->dir, &s->ep.who, &e) != 0)
        cli_say("%s", e.text);
}

/* What serving ended with, and how to go on. */
static void say_trouble(const char *dir, int rc, const char *text)
{
    struct str again = STR_INIT;

    cli_say("%s", text);
    cli_quote(&again, dir);
    if (rc == ERR_FULL || rc == ERR_IO)
        cli_say("nothing accepted is lost; %s, then: rung resume %s",
                rc == ERR_FULL ? "make space" : "see to the disk", again.p);
    str_free(&again);
}

static void tear_down(struct server *s)
{
    viewer_free(s->viewer);
    s->viewer = NULL;
    tidy_free(s->tidy);
    succession_free(s->chain);
    socket_close(s->socket);
    drafter_free(s->drafter);
    if (s->executor)
        s->executor->ops->free(s->executor);
    epoch_end(&s->ep);
    routes_free(s->routes);
    gpu_rows_free(&s->gpus);
    free(s->no_accounts);
    requests_free(s->taken); /* not durable: they stay for the next controller */
    if (s->signals >= 0)
        close(s->signals);
}

/* What was asked on the command line. Who only came to stop something starts nothing:
 * the rest of the sweep waits for `rung resume`. */
static void take_asks(struct server *s)
{
    for (size_t i = 0; i < s->o->n_asks; i++)
        take_request(s, &s->o->asks[i], NULL);
    if (!s->o->submit)
        controller_pause(s->ep.controller, "no controller served it when it was to stop "
                                           "some of its trials");
}

static void say_chain(void *ctx, const char *text)
{
    struct server *s = ctx;

    viewer_say(s->viewer, text);
}

/* A successor for us, unless we are one of many that got nowhere. */
static void join_chain(struct server *s)
{
    const struct loaded *l = &s->ep.sweep;
    struct str why = STR_INIT;
    char *name;

    if (!s->o->job)
        return;
    if (l->barren_epochs >= BARREN_MAX) {
        str_addf(&why,
                 "%d controllers in a row ended within 10 minutes, and nothing was "
                 "trained: jobs/controller-*.log may tell why",
                 l->barren_epochs);
        controller_trouble(s->ep.controller, why.p);
        str_free(&why);
        return;
    }
    name = submit_chain_name(s->dir);
    s->chain = succession_new(
        &(struct succession_setup){.dir = s->dir,
                                   .name = name,
                                   .job = s->o->job,
                                   .first = s->timers.s[TIMER_SUCCESSOR],
                                   .again = s->timers.s[TIMER_SUCCESSOR_RETRY],
                                   .say = say_chain,
                                   .ctx = s});
    free(name);
}

static int tell_known(void *ctx, const struct event *ev, struct err *e)
{
    struct server *s = ctx;

    (void)e;
    controller_known(s->ep.controller, ev);
    return 0;
}

/* search.from, until the first trial is drawn. */
static void take_earlier(struct server *s)
{
    const struct sweepfile *f = s->ep.sweep.file;
    struct str text = STR_INIT;
    struct earlier earlier;
    struct err e = {0};
    int32_t after;

    if (!f->from || !s->o->submit || !sweep_wants_known(s->ep.sweep.sw, &after))
        return;
    if (earlier_load(&earlier, f, &e) != 0) {
        controller_trouble(s->ep.controller, e.text);
    } else {
        earlier_tell(&earlier, s->ep.sweep.sw, tell_known, s, &e);
        earlier_text(&earlier, f, &text);
        viewer_say(s->viewer, text.p);
    }
    earlier_free(&earlier);
    str_free(&text);
}

int serve(const char *dir, const struct serve_options *o)
{
    struct server s = {.dir = dir, .o = o, .signals = -1};
    struct err e = {0};
    int rc = set_up(&s, &e);

    if (rc == 0) {
        take_requests(&s, clock_mono()); /* older than what is asked now */
        take_asks(&s);
        take_earlier(&s);
        join_chain(&s);
        while (rc == 0 && !controller_done(s.ep.controller) && !s.leaving)
            rc = serve_round(&s, &e);
    }
    if (rc == 0 && !s.leaving) {
        controller_jobs(s.ep.controller, cancel_job, &s);
        rc = last_accounts(&s, &e);
    }
    if (rc == 0 && s.leaving) {
        leave(&s);
    } else if (rc == 0) {
        wind_up(&s);
        s.status = exit_status(&s);
    } else {
        viewer_stop(s.viewer);
        say_trouble(dir, rc, e.text);
        s.status = EXIT_FAILED;
    }
    tear_down(&s);
    return s.status;
}
