/* The agent's mind, played scripts: what goes in, and every action that comes out. */
#include "worker/agent/agent.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define AGENT                 0xab
#define NONCE(trial, attempt) ((uint64_t)(trial)*1000 + (uint64_t)(attempt))

/* ---- what the agent does, as text ---- */

static struct str seen = STR_INIT;
static int secured; /* checkpoints */
static struct packet *reader;

static void see_open(const struct item *it)
{
    str_addf(&seen, "(%d", (int)it->hello.oldest);
    for (int i = 0; i < it->hello.n_open; i++)
        str_addf(&seen, " %d.%d@%d", it->hello.open[i].trial, it->hello.open[i].attempt,
                 it->hello.open[i].slot);
    for (int i = 0; i < it->hello.n_gpus; i++) {
        const struct gpu_use *use = &it->hello.gpus[i];
        str_addf(&seen, " %d GPUs@%d %g", use->gpus, use->slot, use->util);
        assert_true(isnan(use->power));
    }
    str_addc(&seen, ')');
}

static void see_end(const struct item *it)
{
    static const char *const causes[] = {
#define NAME_(NAME, name) #name,
        CAUSE_MAP(NAME_)
#undef NAME_
    };
    static const char *const decisions[] = {"none", "continue", "pause", "stop"};
    const struct end_facts *f = &it->end.facts;
    str_addf(&seen, "%d.%d exit %d, %s, told %s, step %d of %u%s", it->end.trial,
             it->end.attempt, f->exit_code, causes[f->cause], decisions[f->answered],
             (int)f->last_step, f->reports, f->oom ? ", oom" : "");
    assert_true(it->end.nonce == NONCE(it->end.trial, it->end.attempt));
}

static void see_item(const struct item *it, uint64_t number)
{
    if (number)
        str_addf(&seen, " %d:", (int)number);
    else
        str_addc(&seen, ' ');
    str_add(&seen, item_name(it->kind));
    if (it->kind == ITEM_HELLO || it->kind == ITEM_BEAT)
        see_open(it);
    str_addc(&seen, ' ');
    switch (it->kind) {
    case ITEM_ASK: str_addf(&seen, "%d/%u", it->ask.slot, it->ask.ask); break;
    case ITEM_REPORT:
        str_addf(&seen, "%d.%d #%u step %d%s", it->report.trial, it->report.attempt,
                 it->report.number, (int)it->report.step, it->report.wait ? "?" : "");
        assert_true(it->report.nonce == NONCE(it->report.trial, it->report.attempt));
        break;
    case ITEM_SAVED:
        assert_true(secured > 0); /* first made durable, then told */
        str_addf(&seen, "%d.%d %d", it->saved.trial, it->saved.attempt,
                 (int)it->saved.step);
        break;
    case ITEM_END: see_end(it); break;
    case ITEM_LEAVE: str_addn(&seen, it->why.text.p, it->why.text.len); break;
    default: break;
    }
    while (seen.p[seen.len - 1] == ' ')
        str_cut(&seen, seen.len - 1);
    str_addc(&seen, ';');
}

static void do_send(void *ctx, const char *packet, size_t n)
{
    struct packet_head h;
    struct item it;
    uint64_t number;
    int rc;
    (void)ctx;
    assert_int_equal(packet_open(reader, packet, n, &h, NULL), 0);
    assert_true(h.agent == AGENT && h.version == WIRE_VERSION);
    str_addf(&seen, "to %d:", h.epoch);
    while ((rc = packet_next(reader, &it, &number, NULL)) == 1)
        see_item(&it, number);
    assert_int_equal(rc, 0);
    str_addc(&seen, '\n');
}

static bool copies; /* programs wait for a copy */

static bool do_start(void *ctx, int slot, const struct item *work)
{
    (void)ctx;
    str_addf(&seen, "start %d.%d in %d with %.*s\n", work->work.trial, work->work.attempt,
             slot, (int)work->work.params.len, work->work.params.p);
    return !copies;
}

static void do_end(void *ctx, int slot)
{
    (void)ctx;
    str_addf(&seen, "end %d\n", slot);
}

static void do_save(void *ctx, int slot)
{
    (void)ctx;
    str_addf(&seen, "signal %d\n", slot);
}

static void do_saved(void *ctx, int slot)
{
    (void)ctx, (void)slot;
    secured++;
}

/* Those of slots whose number is in this set tell something. */
static int gpu_slots;

static bool do_gpus(void *ctx, int slot, struct gpu_use *out)
{
    (void)ctx;
    *out = (struct gpu_use){.gpus = slot + 1, .util = 0.5, .power = NAN};
    return gpu_slots >> slot & 1;
}

static void do_reply(void *ctx, int slot, uint64_t conn, const char *line, size_t n)
{
    (void)ctx;
    assert_int_equal(line[n - 1], '\n');
    str_addf(&seen, "%d/%d: %.*s", slot, (int)conn, (int)n, line);
}

static void do_quit(void *ctx, int status, const char *why)
{
    (void)ctx;
    str_addf(&seen, "quit %d, %s\n", status, why);
}

/* Everything since the last time, or a failure that shows both. */
static void saw_at(const char *want, int line)
{
    if (strcmp(seen.p, want) != 0)
        fail_msg("line %d:\n%s---- wanted:\n%s", line, seen.p, want);
    str_cut(&seen, 0);
}
#define saw(text) saw_at(text, __LINE__)

/* ---- what happens to it ---- */

static struct agent *a;
static struct agent_config config;
static double now;

static void begin(void)
{
    static const struct agent_port port = {do_send,  do_start, do_end,   do_save,
                                           do_saved, do_gpus,  do_reply, do_quit};
    agent_free(a);
    now = 1000;
    a = agent_new(&config, &port, NULL, now);
    assert_true(agent_deadline(a) <= now);
    str_cut(&seen, 0);
}

static void tick(void)
{
    agent_tick(a, now);
    assert_true(agent_deadline(a) > now);
}

/* Lets time pass, with ticks when they are due. */
static void pass(double seconds)
{
    double end = now + seconds, due;
    while ((due = agent_deadline(a)) <= end) {
        if (due > now)
            now = due;
        tick();
    }
    now = end;
}

static void hears_from(int epoch, uint64_t ack, const struct item *it)
{
    const struct packet_head h = {.version = WIRE_VERSION,
                                  .release = SLICE("0.1.0"),
                                  .epoch = epoch,
                                  .agent = AGENT,
                                  .ack = ack};
    struct str s = STR_INIT;
    packet_begin(&s, &h);
    if (it->kind != ITEM_NONE)
        item_encode(it, &s);
    agent_packet(a, s.p, s.len, now);
    str_free(&s);
    tick();
}

static int epoch = 1;

static void hears(uint64_t ack, enum item_kind kind)
{
    struct item it = {.kind = kind};
    it.hello.left = NAN;
    hears_from(epoch, ack, &it);
}

static void hears_left(uint64_t ack, double left)
{
    struct item it = {.kind = ITEM_BEAT};
    it.hello.left = left;
    hears_from(epoch, ack, &it);
}

static void work(uint64_t ack, int slot, uint32_t ask, int trial, int attempt,
                 int64_t until)
{
    struct item it = {.kind = ITEM_WORK};
    it.work.slot = slot;
    it.work.ask = ask;
    it.work.trial = trial;
    it.work.attempt = attempt;
    it.work.nonce = NONCE(trial, attempt);
    it.work.until = until;
    it.work.params = SLICE("{}");
    hears_from(epoch, ack, &it);
}

static void answer(uint64_t ack, int trial, int attempt, uint32_t number, enum decision d,
                   int64_t until)
{
    struct item it = {.kind = ITEM_ANSWER};
    it.answer.trial = trial;
    it.answer.attempt = attempt;
    it.answer.number = number;
    it.answer.decision = d;
    it.answer.until = until;
    hears_from(epoch, ack, &it);
}

static void kill_item(int trial, int attempt, uint64_t nonce, enum end_cause cause)
{
    struct item it = {.kind = ITEM_KILL};
    it.kill.trial = trial;
    it.kill.attempt = attempt;
    it.kill.nonce = nonce;
    it.kill.cause = cause;
    hears_from(epoch, 0, &it);
}

static void retire(int slot, uint32_t ask)
{
    struct item it = {.kind = ITEM_RETIRE};
    it.ask.slot = slot;
    it.ask.ask = ask;
    hears_from(epoch, 0, &it);
}

/* Until what has gathered is sent, if something has. */
static void gather(void)
{
    double due = agent_deadline(a);
    if (due <= now + config.timers.s[TIMER_GATHER])
        pass(due - now);
}

static void line(int slot, uint64_t conn, const char *text)
{
    agent_line(a, slot, conn, text, strlen(text), now);
    tick();
    gather();
}

static void step(int slot, uint64_t conn, int at)
{
    char text[64];
    snprintf(text, sizeof(text), "{\"step\":%d,\"metrics\":{\"loss\":0.5}}\n", at);
    line(slot, conn, text);
}

static void saved(int slot, uint64_t conn, int at)
{
    char text[64];
    snprintf(text, sizeof(text), "{\"saved\":%d}\n", at);
    line(slot, conn, text);
}

static void printed(int slot, int at)
{
    const struct metric m = {SLICE("loss"), 0.5};
    agent_printed(a, slot, at, &m, 1, now);
    tick();
    gather();
}

static void ended(int slot, int exit_code)
{
    const struct end_facts f = {.exit_code = exit_code};
    agent_ended(a, slot, &f, now);
    tick();
}

/* Welcomed by epoch 1, with nothing seen yet of what follows. */
static void join(void)
{
    begin();
    epoch = 1;
    agent_controller(a, 1, now);
    tick();
    hears(0, ITEM_WELCOME);
    str_cut(&seen, 0);
}

/* And with attempt 7.1 in slot 0, milestone 3; the ask is acknowledged. */
static void join_and_run(void)
{
    join();
    work((uint64_t)config.slots, 0, 1, 7, 1, 3);
    str_cut(&seen, 0);
}

static void default_config(void)
{
    config = (struct agent_config){.id = AGENT,
                                   .slots = 1,
                                   .host = SLICE("n1"),
                                   .job = SLICE("1234_5"),
                                   .pid = 4711,
                                   .release = SLICE("0.1.0"),
                                   .promote = true};
    timers_default(&config.timers);
}

static int set_up(void **state)
{
    (void)state;
    default_config();
    return 0;
}

/* ---- joining, asking, leaving ---- */

static void test_joins_and_asks(void **state)
{
    (void)state;
    config.slots = 2;
    begin();
    tick();
    saw(""); /* nobody to say it to */
    assert_true(agent_lost_controller(a, now));
    agent_controller(a, 1, now);
    tick();
    saw("to 1: hello(1);\n");
    pass(6.5);
    saw("to 1: hello(1);\nto 1: hello(1);\n");
    hears_from(1, 0, &(struct item){.kind = ITEM_WELCOME});
    saw("to 1: 1:ask 0/1; 2:ask 1/1;\n");
    hears(2, ITEM_BEAT);
    hears_from(1, 0, &(struct item){.kind = ITEM_WELCOME}); /* again: nothing new */
    saw("");
    work(0, 1, 1, 7, 1, 3);
    saw("start 7.1 in 1 with {}\n");
    assert_int_equal(agent_open(a, 1)->trial, 7);
    assert_null(agent_open(a, 0));
    assert_null(agent_open(a, 2));
    pass(3);
    saw("to 1: 1:ask 0/1;\n"); /* it may have been answered, and the answer lost */
    pass(2);
    saw("to 1: beat(3 7.1@1);\n");
}

/* Below its milestone an attempt is the agent's business; then it ends, and the slot
 * asks again. */
static void test_attempt(void **state)
{
    (void)state;
    join_and_run();
    step(0, 9, 1);
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nto 1: 2:report 7.1 #1 step 1;\n");
    step(0, 9, 2);
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nto 1: 3:report 7.1 #2 step 2;\n");
    step(0, 9, 3);
    saw("to 1: 4:report 7.1 #3 step 3?;\n");
    answer(4, 7, 1, 3, DECISION_CONTINUE, 9);
    saw("0/9: {\"decision\":\"continue\",\"until\":9}\n");
    step(0, 9, 8);
    saw("0/9: {\"decision\":\"continue\",\"until\":9}\nto 1: 5:report 7.1 #4 step 8;\n");
    step(0, 9, 9);
    saw("to 1: 6:report 7.1 #5 step 9?;\n");
    answer(6, 7, 1, 5, DECISION_PAUSE, 9);
    saw("0/9: {\"decision\":\"pause\"}\n");
    saved(0, 9, 9);
    saw("0/9: {\"decision\":\"pause\"}\nto 1: 7:saved 7.1 9;\n");
    ended(0, 0);
    saw("to 1: 8:end 7.1 exit 0, nothing, told pause, step 9 of 5; 9:ask 0/2;\n");
    assert_null(agent_open(a, 0));
}

static void test_work_twice(void **state)
{
    (void)state;
    config.slots = 2;
    join_and_run();
    work(0, 0, 1, 7, 1, 3); /* the same packet */
    saw("");
    work(0, 0, 1, 8, 1, 3); /* another for that ask: not both can run */
    saw("to 1: 3:end 8.1 exit -1, agent_gone, told none, step 0 of 0;\n");
    work(0, 1, 2, 9, 1, 3); /* an ask that was never made */
    saw("to 1: 4:end 9.1 exit -1, agent_gone, told none, step 0 of 0;\n");
    work(0, 5, 1, 9, 1, 3);
    saw("");
    ended(0, 0);
    saw("to 1: 5:end 7.1 exit 0, nothing, told none, step 0 of 0; 6:ask 0/2;\n");
    work(0, 0, 1, 7, 1, 3); /* very late: its end is on the way, before this one */
    saw("to 1: 7:end 7.1 exit -1, agent_gone, told none, step 0 of 0;\n");
}

static void test_retire_and_leave(void **state)
{
    (void)state;
    config.slots = 2;
    join();
    hears(2, ITEM_BEAT);
    retire(0, 2);
    retire(2, 1);
    retire(-1, 1);
    saw("");
    retire(0, 1);
    saw("");
    work(0, 0, 1, 7, 1, 3); /* the controller changed its mind, or packets crossed */
    saw("start 7.1 in 0 with {}\n");
    retire(0, 1); /* late */
    saw("");
    retire(1, 1);
    work(0, 1, 2, 8, 1, 3);
    saw("to 1: 3:end 8.1 exit -1, agent_gone, told none, step 0 of 0;\n");
    ended(0, 0);
    saw("to 1: 4:end 7.1 exit 0, nothing, told none, step 0 of 0; 5:ask 0/2;\n");
    hears(5, ITEM_BEAT);
    retire(0, 2);
    saw("to 1: 6:leave its slots have nothing more to do;\n");
    work(0, 0, 2, 9, 1, 3); /* leave tells of that */
    pass(3.5);
    saw("to 1: 6:leave its slots have nothing more to do;\n");
    hears(6, ITEM_NONE);
    saw("quit 0, its slots have nothing more to do\n");
    pass(1000);
    hears(6, ITEM_WHO);
    saw("");
}

static void test_leave_is_bounded(void **state)
{
    (void)state;
    join();
    hears(1, ITEM_BEAT);
    retire(0, 1);
    str_cut(&seen, 0);
    pass(config.timers.s[TIMER_ORPHAN] + 1);
    assert_non_null(strstr(seen.p, "quit 0,"));
}

static void test_trials_per_job(void **state)
{
    (void)state;
    config.trials_per_job = 2;
    join_and_run();
    ended(0, 0);
    saw("to 1: 2:end 7.1 exit 0, nothing, told none, step 0 of 0; 3:ask 0/2;\n");
    work(3, 0, 2, 8, 1, 3);
    ended(0, 1);
    saw("start 8.1 in 0 with {}\nto 1: 4:end 8.1 exit 1, nothing, told none, step 0 of "
        "0; "
        "5:leave its slots have nothing more to do;\n");
}

static void test_orphan(void **state)
{
    (void)state;
    join();
    hears(1, ITEM_BEAT);
    pass(config.timers.s[TIMER_ORPHAN] - 0.1);
    assert_null(strstr(seen.p, "quit"));
    assert_true(agent_lost_controller(a, now));
    str_cut(&seen, 0);
    pass(0.2);
    saw("quit 0, no controller was heard of any more\n");

    join_and_run(); /* not while something runs */
    pass(config.timers.s[TIMER_ORPHAN] * 3);
    assert_null(strstr(seen.p, "quit"));
    str_cut(&seen, 0);
    ended(0, 0);
    saw("quit 0, no controller was heard of any more\n");
}

static void test_bye(void **state)
{
    (void)state;
    join();
    hears(1, ITEM_BYE);
    hears(1, ITEM_BYE);
    saw("to 1: 2:leave;\n");
    hears(2, ITEM_NONE);
    saw("quit 0, \n");

    join_and_run(); /* there should be nothing, but if there is */
    hears(1, ITEM_BYE);
    saw("end 0\n");
    ended(0, 143);
    saw("to 1: 2:end 7.1 exit 143, agent_gone, told none, step 0 of 0; 3:leave;\n");
    pass(config.timers.s[TIMER_RESEND]);
    saw("quit 0, \n");
}

static void test_evict(void **state)
{
    (void)state;
    config.slots = 2;
    join_and_run();
    agent_evict(a, "preempted", now);
    agent_evict(a, "preempted", now);
    tick();
    saw("end 0\n");
    work(0, 1, 1, 8, 1, 3); /* slot 1 asked; it is taken away, too */
    saw("to 1: 3:end 8.1 exit -1, agent_gone, told none, step 0 of 0;\n");
    saved(0, 1, 2); /* a program that catches SIGTERM */
    saw("0/1: {\"decision\":\"continue\",\"until\":3}\nto 1: 4:saved 7.1 2;\n");
    ended(0, -1);
    saw("to 1: 5:end 7.1 exit -1, evicted, told continue, step 0 of 0; "
        "6:leave preempted;\n");
    pass(config.timers.s[TIMER_CONTROLLER_SILENT]);
    assert_non_null(strstr(seen.p, "quit 0, preempted\n"));

    begin(); /* without ever having heard of a controller */
    agent_evict(a, "cancelled", now);
    tick();
    tick();
    saw("quit 0, cancelled\n");
}

/* ---- acknowledgements and epochs ---- */

/* Reports that nobody waits for are sent together, and with the first that somebody does.
 */
static void test_gather(void **state)
{
    static const char one[] = "{\"step\":1,\"metrics\":{\"loss\":0.5}}\n";
    (void)state;
    join_and_run();
    for (int i = 0; i < 3; i++) {
        agent_line(a, 0, 9, one, strlen(one), now);
        tick();
    }
    str_cut(&seen, 0);
    pass(0.9 * config.timers.s[TIMER_GATHER]);
    saw("");
    pass(0.2 * config.timers.s[TIMER_GATHER]);
    saw("to 1: 2:report 7.1 #1 step 1; 3:report 7.1 #2 step 1; 4:report 7.1 #3 step "
        "1;\n");
    agent_line(a, 0, 9, one, strlen(one), now);
    tick();
    str_cut(&seen, 0);
    step(0, 9, 3);
    saw("to 1: 5:report 7.1 #4 step 1; 6:report 7.1 #5 step 3?;\n");
}

static void test_resend(void **state)
{
    (void)state;
    join_and_run();
    step(0, 9, 1);
    step(0, 9, 2);
    str_cut(&seen, 0);
    pass(3);
    saw("to 1: 2:report 7.1 #1 step 1; 3:report 7.1 #2 step 2;\n");
    hears(2, ITEM_NONE);
    hears(1, ITEM_NONE);  /* late */
    hears(99, ITEM_NONE); /* cannot be */
    pass(1.9);
    saw("");
    step(0, 9, 2);
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nto 1: 4:report 7.1 #3 step 2;\n");
    pass(1.2);
    saw("to 1: beat(3 7.1@0);\n"
        "to 1: 3:report 7.1 #2 step 2; 4:report 7.1 #3 step 2;\n");
    hears(4, ITEM_NONE);
    pass(3.7);
    saw("");
    pass(0.2);
    saw("to 1: beat(5 7.1@0);\n");
}

static void test_new_epoch(void **state)
{
    (void)state;
    config.slots = 2;
    join_and_run();
    step(0, 9, 1);
    step(0, 9, 3);
    str_cut(&seen, 0);
    hears(3, ITEM_NONE); /* report 1 is taken, 2 is not */
    agent_controller(a, 3, now);
    tick();
    saw("to 3: hello(4 7.1@0);\n");
    hears_from(2, 4, &(struct item){.kind = ITEM_BYE}); /* of the past */
    agent_controller(a, 2, now);
    tick();
    step(0, 8, 2); /* nothing but hello before the welcome */
    saw("");
    epoch = 3;
    hears(3, ITEM_WELCOME);
    saw("to 3: 4:report 7.1 #2 step 3?; 5:report 7.1 #3 step 2;\nto 3: 2:ask 1/1;\n");
    answer(5, 7, 1, 2, DECISION_STOP, 3);
    saw("0/9: {\"decision\":\"stop\"}\n0/8: {\"decision\":\"stop\"}\n");
    /* A packet of a higher epoch has the same effect; one that is lost is no matter. */
    hears_from(4, 0, &(struct item){.kind = ITEM_NONE});
    saw("to 4: hello(6 7.1@0);\n");
    pass(3);
    saw("to 4: hello(6 7.1@0);\n");
    epoch = 4;
    hears(5, ITEM_WELCOME);
    saw("to 4: 2:ask 1/1;\n");
    hears(5, ITEM_WHO);
    saw("to 4: hello(6 7.1@0);\n");
}

/* An answer that is lost is asked for again, though the report was acknowledged. */
static void test_lost_answer(void **state)
{
    (void)state;
    join_and_run();
    step(0, 9, 3);
    saw("to 1: 2:report 7.1 #1 step 3?;\n");
    hears(2, ITEM_NONE);
    pass(3.1);
    saw("to 1: 2:report 7.1 #1 step 3?;\n");
    pass(3);
    saw("to 1: beat(3 7.1@0);\nto 1: 2:report 7.1 #1 step 3?;\n");
    answer(2, 7, 1, 1, DECISION_CONTINUE, 9);
    answer(2, 7, 1, 1, DECISION_PAUSE, 9); /* cannot be; the first counts */
    saw("0/9: {\"decision\":\"continue\",\"until\":9}\n");
    pass(4);
    saw("to 1: beat(3 7.1@0);\n");
}

static void test_strange_answers(void **state)
{
    (void)state;
    join_and_run();
    step(0, 9, 3);
    saw("to 1: 2:report 7.1 #1 step 3?;\n");
    answer(2, 7, 2, 1, DECISION_STOP, 3); /* another attempt */
    answer(2, 8, 1, 1, DECISION_STOP, 3); /* another trial */
    answer(2, 7, 1, 2, DECISION_STOP, 3); /* a report that was not made */
    answer(2, 7, 1, 0, DECISION_STOP, 3);
    answer(2, 7, 1, 1, DECISION_NONE, 3);
    saw("");
    agent_packet(a, "rubbish", 7, now);
    agent_packet(a, "", 0, now);
    tick();
    saw("");
    struct item it = {.kind = ITEM_BYE};
    struct packet_head h = {
        .version = 1, .release = SLICE("x"), .epoch = 1, .agent = 0xac};
    struct str s = STR_INIT;
    packet_begin(&s, &h);
    item_encode(&it, &s);
    agent_packet(a, s.p, s.len, now); /* for another agent */
    str_free(&s);
    tick();
    saw("");
}

static void test_refused(void **state)
{
    struct item it = {.kind = ITEM_REFUSED};
    struct packet_head h = {
        .version = 2, .release = SLICE("0.2.0"), .epoch = 1, .agent = AGENT};
    struct str s = STR_INIT;
    (void)state;
    it.why.text = SLICE("too old");
    join_and_run();
    hears_from(1, 0, &it);
    saw("end 0\n");
    step(0, 9, 3); /* nobody to ask; the program is being ended */
    pass(100);
    saw("0/9: {\"decision\":\"pause\"}\n");
    ended(0, 143);
    saw("quit 1, too old\n");

    join();
    packet_begin(&s, &h);
    agent_packet(a, s.p, s.len, now);
    tick();
    saw("to 1: refused;\n"
        "quit 1, the controller is rung 0.2.0 (protocol 2), this agent is rung 0.1.0 "
        "(protocol 1): run the sweep with one release\n");
    join();
    item_encode(&it, &s); /* who refuses is not refused */
    agent_packet(a, s.p, s.len, now);
    tick();
    saw("quit 1, too old\n");
    str_free(&s);
}

/* ---- the program's lines ---- */

static void test_bad_lines(void **state)
{
    (void)state;
    join();
    step(0, 9, 1);
    saw("0/9: {\"error\":\"no attempt runs in this slot\"}\n");
    work(1, 0, 1, 7, 1, 3);
    str_cut(&seen, 0);
    line(0, 9, "{\"step\":1,\"metrics\":{\"loss\":\"low\"}}\n");
    line(0, 9, "hello\n");
    saw("0/9: {\"error\":\"metric 'loss': a number is wanted\"}\n"
        "0/9: {\"error\":\"not a JSON object: an object is wanted\"}\n");
    line(1, 9, "{}\n");
    line(-1, 9, "{}\n");
    saw("");
    ended(0, 0);
    saw("to 1: 2:end 7.1 exit 0, nothing, told none, step 0 of 0; 3:ask 0/2;\n");
    ended(0, 0); /* twice */
    saw("");
}

static void test_saved(void **state)
{
    (void)state;
    join_and_run();
    saved(0, 9, 0);
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nto 1: 2:saved 7.1 0;\n");
    line(0, 9, "{\"saved\":1,\"step\":1}\n");
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\n"
        "to 1: 3:report 7.1 #1 step 1; 4:saved 7.1 1;\n");
}

/* Several connections: answers keep the order in which the lines came. */
static void test_waiting_lines(void **state)
{
    (void)state;
    join_and_run();
    step(0, 1, 3);
    step(0, 2, 2);
    saved(0, 3, 2);
    step(0, 4, 10);
    step(0, 5, 4);
    saw("to 1: 2:report 7.1 #1 step 3?;\n"
        "to 1: 3:report 7.1 #2 step 2;\n"
        "to 1: 4:saved 7.1 2;\n"
        "to 1: 5:report 7.1 #3 step 10?;\n"
        "to 1: 6:report 7.1 #4 step 4?;\n");
    answer(6, 7, 1, 1, DECISION_CONTINUE, 9);
    saw("0/1: {\"decision\":\"continue\"}\n0/2: {\"decision\":\"continue\"}\n"
        "0/3: {\"decision\":\"continue\"}\n");
    answer(6, 7, 1, 4, DECISION_CONTINUE, 27); /* the one before it was lost */
    saw("0/4: {\"decision\":\"continue\",\"until\":27}\n"
        "0/5: {\"decision\":\"continue\",\"until\":27}\n");
    answer(6, 7, 1, 3, DECISION_STOP, 27); /* late: what came after it counts */
    saw("");
    for (int i = 1; i <= 300; i++)
        step(0, (uint64_t)i, 27);
    assert_non_null(strstr(seen.p, "0/300: {\"error\":\"too many lines wait"));
    str_cut(&seen, 0);
    answer(0, 7, 1, 5, DECISION_STOP, 27); /* final: nobody need wait for more */
    assert_non_null(strstr(seen.p, "0/1: {\"decision\":\"stop\"}"));
    assert_non_null(strstr(seen.p, "0/256: {\"decision\":\"stop\"}"));
    str_cut(&seen, 0);
    ended(0, 0);
    assert_non_null(strstr(seen.p, "end 7.1 exit 0, nothing, told stop, step 27 of 260"));
}

/* Told to pause or stop, it gets the same again; a later step ends it, and so does time.
 */
static void test_after_final(void **state)
{
    (void)state;
    join_and_run();
    step(0, 9, 3);
    answer(2, 7, 1, 1, DECISION_STOP, 3);
    saw("to 1: 2:report 7.1 #1 step 3?;\n0/9: {\"decision\":\"stop\"}\n");
    step(0, 9, 3);
    saw("0/9: {\"decision\":\"stop\"}\nto 1: 3:report 7.1 #2 step 3;\n");
    hears(3, ITEM_NONE);
    pass(100);
    hears(3, ITEM_BEAT);
    str_cut(&seen, 0);
    step(0, 9, 4);
    saw("0/9: {\"decision\":\"stop\"}\nend 0\nto 1: 4:report 7.1 #3 step 4;\n");
    step(0, 9, 5); /* it does not hurry; ended once */
    saw("0/9: {\"decision\":\"stop\"}\nto 1: 5:report 7.1 #4 step 5;\n");
    ended(0, -1);
    saw("to 1: 6:end 7.1 exit -1, after_stop, told stop, step 5 of 4; 7:ask 0/2;\n");

    join_and_run();
    step(0, 9, 3);
    answer(2, 7, 1, 1, DECISION_PAUSE, 3);
    for (int i = 0; i < 60; i++) {
        hears(2, ITEM_BEAT);
        pass(9.9);
        if (i == 30)
            saved(0, 9, 3); /* is no excuse */
    }
    assert_null(strstr(seen.p, "end 0"));
    str_cut(&seen, 0);
    hears(2, ITEM_BEAT);
    pass(10);
    assert_non_null(strstr(seen.p, "end 0\n"));
    str_cut(&seen, 0);
    ended(0, -1);
    assert_non_null(strstr(seen.p, "after_pause, told pause, step 3 of 1;"));

    join_and_run();
    step(0, 9, 3);
    answer(2, 7, 1, 1, DECISION_PAUSE, 3);
    step(0, 9, 4);
    str_cut(&seen, 0);
    ended(0, 0); /* it paused at 3, whatever it went on to */
    assert_non_null(strstr(seen.p, "told pause, step 3 of 2;"));
}

static void test_hang(void **state)
{
    (void)state;
    config.timeout = 50;
    join_and_run();
    pass(49);
    step(0, 9, 1);
    pass(49);
    saved(0, 9, 1);
    pass(49);
    step(0, 9, 3);
    str_cut(&seen, 0);
    for (int i = 0; i < 20; i++) { /* waiting for a decision is no silence */
        hears(3, ITEM_BEAT);
        pass(10);
    }
    assert_null(strstr(seen.p, "end 0"));
    answer(4, 7, 1, 2, DECISION_CONTINUE, 9);
    pass(49);
    assert_null(strstr(seen.p, "end 0"));
    str_cut(&seen, 0);
    hears(4, ITEM_BEAT);
    pass(1.5);
    assert_non_null(strstr(seen.p, "end 0\n"));
    str_cut(&seen, 0);
    ended(0, -1);
    assert_non_null(strstr(seen.p, "end 7.1 exit -1, hang, told continue, step 3 of 2;"));

    join_and_run(); /* silent from its start */
    pass(51);
    assert_non_null(strstr(seen.p, "end 0\n"));

    join_and_run(); /* `timeout` bounds the stay after pause, too */
    step(0, 9, 3);
    answer(2, 7, 1, 1, DECISION_PAUSE, 3);
    pass(49);
    assert_null(strstr(seen.p, "end 0"));
    pass(2);
    assert_non_null(strstr(seen.p, "end 0\n"));
}

/* Nothing is to be heard of a program that waits for its checkpoint. */
static void test_copying(void **state)
{
    (void)state;
    config.timeout = 50;
    copies = true;
    join_and_run();
    str_cut(&seen, 0);
    for (int i = 0; i < 20; i++) {
        hears(1, ITEM_BEAT);
        pass(10);
    }
    assert_null(strstr(seen.p, "end 0"));
    agent_started(a, 0, now);
    pass(49);
    assert_null(strstr(seen.p, "end 0"));
    pass(2);
    assert_non_null(strstr(seen.p, "end 0\n"));

    join_and_run(); /* there is nothing to save, so a pause need not wait */
    str_cut(&seen, 0);
    hears(1, ITEM_PAUSE);
    assert_non_null(strstr(seen.p, "end 0\n"));
    copies = false;
}

/* Its job is suspended, the program with it, and resumed: nobody was silent meanwhile. */
static void test_suspended(void **state)
{
    (void)state;
    config.timeout = 50;
    join_and_run();
    pass(30);
    step(0, 9, 1);
    hears(2, ITEM_BEAT);
    str_cut(&seen, 0);
    now += 1000;
    tick();
    pass(49);
    assert_null(strstr(seen.p, "end 0"));
    pass(2);
    assert_non_null(strstr(seen.p, "end 0\n"));

    join_and_run(); /* it waits for a decision no less long than else */
    step(0, 9, 3);
    hears(2, ITEM_BEAT);
    str_cut(&seen, 0);
    now += 1000;
    tick();
    assert_false(agent_lost_controller(a, now));
    pass(50);
    assert_null(strstr(seen.p, "0/9:"));
    pass(11);
    assert_non_null(strstr(seen.p, "0/9: {\"decision\":\"pause\"}\n"));

    join(); /* nor does it leave at once when nothing runs */
    hears(1, ITEM_BEAT);
    now += 1000;
    tick();
    pass(config.timers.s[TIMER_ORPHAN] - 0.1);
    assert_null(strstr(seen.p, "quit"));
    pass(0.2);
    assert_non_null(strstr(seen.p, "quit 0, no controller was heard of any more\n"));
}

/* Somebody's process was ended for want of memory, by the count of the cgroup. */
static void test_oom(void **state)
{
    static const struct {
        int slots, exit_code;
        struct slice step;
        bool oom;
    } cases[] = {
        {1, 0, SLICE(""), true},
        {2, 0, SLICE(""), false},
        {2, 0, SLICE("7"), true},
        {2, 1, SLICE(""), true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct end_facts f = {
            .exit_code = cases[i].exit_code, .slurm_step = cases[i].step, .oom = true};
        config.slots = cases[i].slots;
        join_and_run();
        agent_ended(a, 0, &f, now);
        tick();
        assert_non_null(strstr(seen.p, "7.1 exit "));
        assert_int_equal(strstr(seen.p, ", oom") != NULL, cases[i].oom);
    }
}

/* ---- without a controller ---- */

static void test_decides_alone_promote(void **state)
{
    (void)state;
    join_and_run();
    pass(100); /* silent for long, but nothing waits */
    step(0, 9, 3);
    str_cut(&seen, 0);
    pass(59.9);
    assert_null(strstr(seen.p, "0/9:"));
    pass(0.2);
    assert_non_null(strstr(seen.p, "0/9: {\"decision\":\"pause\"}\n"));
    str_cut(&seen, 0);
    answer(2, 7, 1, 1, DECISION_CONTINUE, 9); /* late; the next attempt goes on */
    saved(0, 9, 3);
    saw("0/9: {\"decision\":\"pause\"}\nto 1: 3:saved 7.1 3;\n");
    ended(0, 0);
    saw("to 1: 4:end 7.1 exit 0, nothing, told pause, step 3 of 1; 5:ask 0/2;\n");
}

/* A controller that lives and takes its time is waited for. */
static void test_waits_for_the_living(void **state)
{
    (void)state;
    join_and_run();
    step(0, 9, 3);
    for (int i = 0; i < 100; i++) {
        hears(2, ITEM_BEAT);
        pass(10);
    }
    assert_null(strstr(seen.p, "0/9:"));
    pass(14.9 - 10); /* silent for 14.9 s now */
    assert_null(strstr(seen.p, "0/9:"));
    pass(0.2);
    assert_non_null(strstr(seen.p, "0/9: {\"decision\":\"pause\"}\n"));
}

static void test_decides_alone_stop(void **state)
{
    (void)state;
    config.promote = false;
    join_and_run();
    step(0, 9, 3);
    str_cut(&seen, 0);
    pass(61);
    assert_non_null(strstr(seen.p, "0/9: {\"decision\":\"continue\"}\n"));
    str_cut(&seen, 0);
    step(0, 9, 4); /* from then on at once */
    saw("0/9: {\"decision\":\"continue\"}\nto 1: 3:report 7.1 #2 step 4?;\n");
    hears(3, ITEM_BEAT); /* it is back */
    step(0, 9, 5);
    saw("to 1: 4:report 7.1 #3 step 5?;\n");
    answer(4, 7, 1, 1, DECISION_CONTINUE, 9); /* on an old report */
    saw("");
    answer(4, 7, 1, 3, DECISION_CONTINUE, 9);
    saw("0/9: {\"decision\":\"continue\",\"until\":9}\n");

    join_and_run(); /* its late decision comes with the next answer */
    step(0, 9, 3);
    pass(61);
    str_cut(&seen, 0);
    answer(2, 7, 1, 1, DECISION_STOP, 3);
    saw("");
    step(0, 9, 4);
    saw("0/9: {\"decision\":\"stop\"}\nto 1: 3:report 7.1 #2 step 4;\n");
    step(0, 9, 4);
    saw("0/9: {\"decision\":\"stop\"}\nto 1: 4:report 7.1 #3 step 4;\n");
    step(0, 9, 5);
    saw("0/9: {\"decision\":\"stop\"}\nend 0\nto 1: 5:report 7.1 #4 step 5;\n");
}

/* Else a program that only ends when it is told to would never end. */
static void test_stops_alone_at_max_t(void **state)
{
    (void)state;
    config.promote = false;
    config.max_t = 5;
    join_and_run();
    step(0, 9, 3);
    pass(61);
    step(0, 9, 4);
    str_cut(&seen, 0);
    step(0, 9, 5);
    saw("0/9: {\"decision\":\"stop\"}\nto 1: 4:report 7.1 #3 step 5?;\n");

    config.promote = true; /* a finalist, who was to go on to there */
    join_and_run();
    step(0, 9, 5);
    str_cut(&seen, 0);
    pass(61);
    assert_non_null(strstr(seen.p, "0/9: {\"decision\":\"stop\"}\n"));
}

/* ---- pausing the sweep ---- */

static void test_pause_promote(void **state)
{
    (void)state;
    config.slots = 3;
    join_and_run();
    work(0, 1, 1, 8, 1, 3);
    str_cut(&seen, 0);
    hears(3, ITEM_PAUSE);
    hears(3, ITEM_PAUSE);
    saw("");
    step(0, 9, 1);
    saw("0/9: {\"decision\":\"pause\"}\nto 1: 4:report 7.1 #1 step 1;\n");
    saved(0, 9, 1);
    ended(0, 0);
    saw("0/9: {\"decision\":\"pause\"}\nto 1: 5:saved 7.1 1;\n"
        "to 1: 6:end 7.1 exit 0, pausing, told pause, step 1 of 1; 7:ask 0/2;\n");
    saved(1, 9, 0);
    saw("1/9: {\"decision\":\"continue\",\"until\":3}\nto 1: 8:saved 8.1 0;\n");
    step(1, 9, 3); /* at its milestone: the controller is still asked */
    saw("to 1: 9:report 8.1 #1 step 3?;\n");
    answer(9, 8, 1, 1, DECISION_CONTINUE, 9); /* but whatever goes on pauses */
    saw("1/9: {\"decision\":\"pause\"}\n");
    step(1, 9, 4);
    saw("1/9: {\"decision\":\"pause\"}\nend 1\nto 1: 10:report 8.1 #2 step 4;\n");
    ended(1, -1);
    saw("to 1: 11:end 8.1 exit -1, pausing, told pause, step 3 of 2; 12:ask 1/2;\n");
    work(12, 2, 1, 9, 1, 3); /* the sweep goes on: only what ran was to pause */
    step(2, 9, 1);
    saw("start 9.1 in 2 with {}\n"
        "2/9: {\"decision\":\"continue\",\"until\":3}\nto 1: 13:report 9.1 #1 step 1;\n");
    hears(13, ITEM_PAUSE);
    step(2, 9, 3);
    answer(14, 9, 1, 2, DECISION_STOP, 3);
    saw("to 1: 14:report 9.1 #2 step 3?;\n2/9: {\"decision\":\"stop\"}\n");
    ended(2, 0);
    saw("to 1: 15:end 9.1 exit 0, nothing, told stop, step 3 of 2; 16:ask 2/2;\n");
}

static void test_pause_stop(void **state)
{
    (void)state;
    config.promote = false;
    join_and_run();
    hears(1, ITEM_PAUSE);
    saw("signal 0\n");
    step(0, 9, 1);
    saw("0/9: {\"decision\":\"continue\",\"until\":3,\"save\":true}\n"
        "to 1: 2:report 7.1 #1 step 1;\n");
    hears(2, ITEM_PAUSE);
    saved(0, 9, 0); /* not the checkpoint that was asked for */
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nto 1: 3:saved 7.1 0;\n");
    saved(0, 9, 1);
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nend 0\nto 1: 4:saved 7.1 1;\n");
    ended(0, -1);
    saw("to 1: 5:end 7.1 exit -1, pausing, told continue, step 1 of 1; 6:ask 0/2;\n");

    join_and_run(); /* no word of a checkpoint: at the report after that */
    hears(1, ITEM_PAUSE);
    step(0, 9, 1);
    str_cut(&seen, 0);
    step(0, 9, 2);
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nend 0\n"
        "to 1: 3:report 7.1 #2 step 2;\n");

    join_and_run(); /* one that says so with its report is ready */
    hears(1, ITEM_PAUSE);
    str_cut(&seen, 0);
    line(0, 9, "{\"step\":1,\"saved\":1}\n");
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nend 0\n"
        "to 1: 2:report 7.1 #1 step 1; 3:saved 7.1 1;\n");

    join_and_run(); /* the signal alone was enough */
    hears(1, ITEM_PAUSE);
    str_cut(&seen, 0);
    saved(0, 9, 0);
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nend 0\nto 1: 2:saved 7.1 0;\n");

    join_and_run(); /* told, and never heard of again */
    hears(1, ITEM_PAUSE);
    step(0, 9, 1);
    str_cut(&seen, 0);
    pass(config.timers.s[TIMER_STAY] + 1);
    assert_non_null(strstr(seen.p, "end 0\n"));
    hears(2, ITEM_BEAT);
    str_cut(&seen, 0);
    ended(0, -1);
    assert_non_null(strstr(seen.p, "end 7.1 exit -1, pausing, told continue"));

    join_and_run(); /* at its milestone */
    hears(1, ITEM_PAUSE);
    str_cut(&seen, 0);
    step(0, 9, 3);
    saw("to 1: 2:report 7.1 #1 step 3?;\n");
    answer(2, 7, 1, 1, DECISION_CONTINUE, 9);
    saw("0/9: {\"decision\":\"continue\",\"until\":9,\"save\":true}\n");

    config.restart = true; /* it has none to save */
    join_and_run();
    hears(1, ITEM_PAUSE);
    step(0, 9, 1);
    saw("0/9: {\"decision\":\"continue\",\"until\":3}\nend 0\n"
        "to 1: 2:report 7.1 #1 step 1;\n");
}

static void test_kill(void **state)
{
    (void)state;
    join_and_run();
    kill_item(7, 1, NONCE(7, 2), CAUSE_AGENT_GONE); /* another attempt's nonce */
    kill_item(7, 2, NONCE(7, 2), CAUSE_AGENT_GONE);
    kill_item(8, 1, NONCE(8, 1), CAUSE_AGENT_GONE);
    saw("");
    kill_item(7, 1, NONCE(7, 1), CAUSE_USER_STOP);
    kill_item(7, 1, NONCE(7, 1), CAUSE_USER_STOP);
    saw("end 0\n");
    agent_evict(a, "too late", now); /* the first cause counts */
    tick();
    saw("");
    ended(0, -1);
    saw("to 1: 2:end 7.1 exit -1, user_stop, told none, step 0 of 0; 3:leave too "
        "late;\n");
}

/* ---- `parse:` ---- */

static void test_printed(void **state)
{
    (void)state;
    config.promote = false;
    config.printed = true;
    join_and_run();
    printed(0, 1);
    printed(0, 3);
    printed(0, 4); /* it does not wait */
    printed(0, 5);
    saw("to 1: 2:report 7.1 #1 step 1;\n"
        "to 1: 3:report 7.1 #2 step 3?;\n"
        "to 1: 4:report 7.1 #3 step 4?;\n"
        "to 1: 5:report 7.1 #4 step 5?;\n");
    hears(5, ITEM_NONE);
    pass(3.1);
    saw("to 1: 5:report 7.1 #4 step 5?;\n"); /* the newest is enough */
    answer(5, 7, 1, 2, DECISION_CONTINUE, 9);
    saw("");
    pass(3);
    saw("to 1: beat(6 7.1@0);\nto 1: 5:report 7.1 #4 step 5?;\n");
    answer(5, 7, 1, 4, DECISION_CONTINUE, 9);
    pass(4);
    printed(0, 8);
    saw("to 1: beat(6 7.1@0);\nto 1: 6:report 7.1 #5 step 8;\n");
    printed(0, 9);
    answer(7, 7, 1, 6, DECISION_STOP, 9);
    saw("to 1: 7:report 7.1 #6 step 9?;\nend 0\n"); /* at once */
    printed(0, 10);
    ended(0, -1);
    saw("to 1: 8:report 7.1 #7 step 10;\n"
        "to 1: 9:end 7.1 exit -1, after_stop, told stop, step 10 of 7; 10:ask 0/2;\n");
    printed(0, 11);
    saw("");

    join_and_run(); /* alone, then a controller stops it late */
    printed(0, 3);
    pass(61);
    printed(0, 4);
    str_cut(&seen, 0);
    answer(3, 7, 1, 2, DECISION_STOP, 3);
    saw("end 0\n");

    join_and_run();
    hears(1, ITEM_PAUSE);
    saw("signal 0\n");
    printed(0, 1);
    saw("end 0\nto 1: 2:report 7.1 #1 step 1;\n");
    ended(0, -1);
    saw("to 1: 3:end 7.1 exit -1, pausing, told continue, step 1 of 1; 4:ask 0/2;\n");

    join_and_run(); /* what it says on its socket, too, is answered */
    printed(0, 1);
    step(0, 5, 2);
    saw("to 1: 2:report 7.1 #1 step 1;\n"
        "0/5: {\"decision\":\"continue\",\"until\":3}\n"
        "to 1: 3:report 7.1 #2 step 2;\n");
    printed(0, 3);
    saved(0, 5, 3);
    printed(0, 4);
    printed(0, 5);
    str_cut(&seen, 0);
    answer(6, 7, 1, 3, DECISION_CONTINUE, 9);
    saw("0/5: {\"decision\":\"continue\",\"until\":9}\n");
    answer(7, 7, 1, 5, DECISION_CONTINUE, 9);
    saw("");

    config.promote = config.restart = true;
    join_and_run();
    printed(0, 3);
    answer(2, 7, 1, 1, DECISION_PAUSE, 3);
    saw("to 1: 2:report 7.1 #1 step 3?;\nend 0\n");
    ended(0, -1);
    saw("to 1: 3:end 7.1 exit -1, after_pause, told pause, step 3 of 1; 4:ask 0/2;\n");
    join_and_run();
    hears(1, ITEM_PAUSE);
    printed(0, 1);
    saw("end 0\nto 1: 2:report 7.1 #1 step 1;\n");
    ended(0, -1);
    saw("to 1: 3:end 7.1 exit -1, pausing, told pause, step 1 of 1; 4:ask 0/2;\n");
}

/* ---- the job's time ---- */

static int count(const char *text)
{
    int n = 0;
    for (const char *p = seen.p; (p = strstr(p, text)); p += strlen(text))
        n++;
    return n;
}

static void test_time(void **state)
{
    (void)state;
    config.ends = 1000 + 4000; /* the agent begins at 1000 */
    join_and_run();
    for (int i = 1; i <= 3879; i++) {
        pass(1 - config.timers.s[TIMER_GATHER]);
        step(0, 9, 1);
        hears((uint64_t)i + 1, ITEM_BEAT);
    }
    assert_int_equal(count("save"), 0);
    assert_int_equal(count("signal"), 0);
    str_cut(&seen, 0);
    pass(1.5);
    step(0, 9, 1);
    assert_int_equal(count("signal 0\n"), 1);
    assert_int_equal(count("\"save\":true"), 1);
    for (int i = 0; i < 118; i++) {
        hears((uint64_t)(3881 + i), ITEM_BEAT);
        pass(1 - config.timers.s[TIMER_GATHER]);
        step(0, 9, 1);
    }
    assert_int_equal(count("signal 0\n"), 7); /* 120, 60, 30, 15, 7.5, 3.8, 1.9 s left */
    assert_int_equal(count("\"save\":true"), 7);
    str_cut(&seen, 0);
    ended(0, 0); /* too late for another */
    assert_int_equal(count("leave its slots"), 1);
    assert_int_equal(count("ask 0/2"), 0);

    config.ends = 1000 + 10; /* a tenth, when that is less; a first attempt in any case */
    begin();
    pass(9.5);
    agent_controller(a, 1, now);
    tick();
    hears_from(1, 0, &(struct item){.kind = ITEM_WELCOME});
    work(1, 0, 1, 7, 1, 3);
    assert_int_equal(count("start 7.1"), 1);
    assert_int_equal(count("signal 0\n"), 1);

    config.ends = 0; /* the controller knows it, and later another */
    join_and_run();
    hears_left(2, 1000);
    pass(100);
    hears_left(2, 100); /* of 200 in all: asks 20 before */
    pass(70);
    step(0, 9, 1);
    assert_int_equal(count("signal 0\n"), 0);
    pass(12);
    step(0, 9, 1);
    assert_int_equal(count("signal 0\n"), 1);
    assert_int_equal(count("\"save\":true"), 1);
    hears_left(4, 1000);
    pass(870);
    step(0, 9, 1);
    assert_int_equal(count("signal 0\n"), 1);
    pass(20);
    assert_int_equal(count("signal 0\n"), 2);

    config.ends = 1000 + 10;
    config.restart = true; /* has no checkpoints */
    begin();
    agent_controller(a, 1, now);
    tick();
    hears_from(1, 0, &(struct item){.kind = ITEM_WELCOME});
    work(1, 0, 1, 7, 1, 3);
    pass(12);
    step(0, 9, 1);
    assert_int_equal(count("signal"), 0);
    assert_int_equal(count("save"), 0);
}

/* ---- too much ---- */

static void test_choke(void **state)
{
    (void)state;
    config.timeout = 50;
    join_and_run();
    for (int i = 0; i < 20000; i++) {
        assert_false(agent_choked(a));
        agent_line(a, 0, 9, "{\"step\":1}\n", 11, now);
    }
    agent_line(a, 0, 9, "{\"step\":1}\n", 11, now);
    assert_true(agent_choked(a));
    tick();
    pass(40);
    hears(1, ITEM_BEAT);
    pass(40);
    hears(1, ITEM_BEAT);
    assert_int_equal(count("end 0"), 0); /* it is not read: no silence of its own */
    hears(3, ITEM_BEAT);
    assert_false(agent_choked(a));
    pass(49);
    assert_int_equal(count("end 0"), 0);
    pass(2);
    assert_int_equal(count("end 0"), 1);
}

static int tear_down(void **state)
{
    (void)state;
    agent_free(a);
    agent_free(NULL);
    packet_free(reader);
    str_free(&seen);
    return 0;
}

static int make_reader(void **state)
{
    (void)state;
    reader = packet_new();
    return 0;
}

/* A beat tells of the GPUs of what runs, a hello does not. */
static void test_gpus(void **state)
{
    (void)state;
    config.slots = 3;
    join();
    work(3, 1, 1, 7, 1, 3);
    work(3, 2, 1, 8, 1, 3);
    retire(0, 1);
    gpu_slots = 0;
    str_cut(&seen, 0);
    pass(config.timers.s[TIMER_BEAT]);
    saw("to 1: beat(4 7.1@1 8.1@2);\n");
    gpu_slots = 3; /* slot 0 has them, but runs nothing */
    hears(3, ITEM_BEAT);
    pass(config.timers.s[TIMER_BEAT]);
    saw("to 1: beat(4 7.1@1 8.1@2 2 GPUs@1 0.5);\n");
    hears(3, ITEM_WHO);
    saw("to 1: hello(4 7.1@1 8.1@2);\n");
    gpu_slots = 0;
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bad_lines),
        TEST(test_strange_answers),
        TEST(test_refused),
        TEST(test_joins_and_asks),
        TEST(test_gpus),
        TEST(test_attempt),
        TEST(test_work_twice),
        TEST(test_retire_and_leave),
        TEST(test_leave_is_bounded),
        TEST(test_trials_per_job),
        TEST(test_orphan),
        TEST(test_bye),
        TEST(test_evict),
        TEST(test_gather),
        TEST(test_resend),
        TEST(test_new_epoch),
        TEST(test_lost_answer),
        TEST(test_saved),
        TEST(test_waiting_lines),
        TEST(test_after_final),
        TEST(test_hang),
        TEST(test_copying),
        TEST(test_suspended),
        TEST(test_oom),
        TEST(test_decides_alone_promote),
        TEST(test_waits_for_the_living),
        TEST(test_decides_alone_stop),
        TEST(test_stops_alone_at_max_t),
        TEST(test_pause_promote),
        TEST(test_pause_stop),
        TEST(test_kill),
        TEST(test_printed),
        TEST(test_time),
        TEST(test_choke),
    };
    return cmocka_run_group_tests_name("worker/agent/agent", tests, make_reader,
                                       tear_down);
}
