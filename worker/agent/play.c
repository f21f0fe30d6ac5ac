#include "worker/agent/play.h"

#include "base/clock.h"
#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int play_open(struct play *p, const char *below, struct err *e)
{
    *p = (struct play){
        .out = STR_INIT, .attempt = 1, .until = 1, .decision = DECISION_STOP};
    snprintf(p->dir, sizeof(p->dir), "%s/rung-play-XXXXXX", below);
    if (!mkdtemp(p->dir))
        return err_sys(e, "%s", p->dir);
    char *trials = path_join(p->dir, "trials");
    int made = mkdir(trials, 0755);
    free(trials);
    if (made < 0)
        return err_sys(e, "%s/trials", p->dir);
    p->reader = packet_new();
    int rc = keys_create(p->dir, e);
    return rc ? rc : key_pair_make(&p->own, e);
}

int play_serve(struct play *p, int epoch, struct err *e)
{
    struct controller_file f = {.epoch = epoch, .pid = getpid(), .state = "running"};
    struct key_pair agents;
    int rc = keys_load(p->dir, &agents, e);
    socket_close(p->socket);
    p->socket = NULL;
    p->epoch = epoch;
    if (!rc)
        rc = socket_serve(&p->socket, &p->own, agents.public_key, true, e);
    if (rc)
        return rc;
    strcpy(f.public_key, p->own.public_key);
    snprintf(f.address, sizeof(f.address), "%s", socket_address(p->socket));
    return controller_file_write(p->dir, &f, e);
}

void play_close(struct play *p)
{
    socket_close(p->socket);
    packet_free(p->reader);
    str_free(&p->out);
    vec_free(&p->ends);
    vec_free(&p->reports);
    vec_free(&p->saved);
    dir_remove(p->dir, NULL);
}

/* ---- what it says ---- */

static void begin(struct play *p)
{
    struct packet_head h = {.version = WIRE_VERSION,
                            .release = SLICE("0"),
                            .epoch = p->epoch,
                            .agent = p->agent,
                            .ack = p->taken};
    str_cut(&p->out, 0);
    packet_begin(&p->out, &h);
}

static void flush(struct play *p)
{
    if (p->out.len > 0)
        socket_send(p->socket, p->peer, p->out.p, p->out.len);
    str_cut(&p->out, 0);
}

void play_say(struct play *p, const struct item *it)
{
    begin(p);
    item_encode(it, &p->out);
    flush(p);
}

static void answer_ask(struct play *p, const struct item *ask)
{
    struct item it = {.kind = ITEM_RETIRE, .ask = ask->ask};
    if (p->next < p->trials) {
        it.kind = ITEM_WORK;
        it.work.slot = ask->ask.slot;
        it.work.ask = ask->ask.ask;
        it.work.trial = p->next++;
        it.work.attempt = p->attempt;
        it.work.nonce = (uint64_t)it.work.trial + 1;
        it.work.start = 0;
        it.work.until = p->until;
        it.work.seed = 1;
        it.work.params = SLICE("{}");
        if (it.work.trial == p->child && p->source > 0) {
            it.work.source_trial = p->source;
            it.work.source_attempt = 1;
        }
    }
    item_encode(&it, &p->out);
}

/* ---- what it hears ---- */

static void take_report(struct play *p, const struct item *it)
{
    struct play_report r = {.trial = it->report.trial,
                            .step = it->report.step,
                            .n_metrics = it->report.n_metrics};
    if (r.n_metrics > 0) {
        const struct metric *m = it->report.metrics;
        snprintf(r.name, sizeof(r.name), "%.*s", (int)m->name.len, m->name.p);
        r.value = m->value;
    }
    vec_push(&p->reports, r);
    if (!it->report.wait || p->decision == DECISION_NONE)
        return;
    struct item answer = {.kind = ITEM_ANSWER};
    answer.answer.trial = it->report.trial;
    answer.answer.attempt = it->report.attempt;
    answer.answer.number = it->report.number;
    answer.answer.decision = p->decision;
    answer.answer.until = 1000000;
    item_encode(&answer, &p->out);
}

static void take_end(struct play *p, const struct item *it)
{
    struct play_end end = {.trial = it->end.trial, .facts = it->end.facts};
    struct slice note = it->end.facts.note;
    snprintf(end.note, sizeof(end.note), "%.*s", (int)note.len, note.p);
    vec_push(&p->ends, end);
}

static void take(struct play *p, const struct item *it)
{
    struct item welcome = {.kind = ITEM_WELCOME};
    switch (it->kind) {
    case ITEM_HELLO:
        if (it->hello.oldest > p->taken + 1)
            p->taken = it->hello.oldest - 1;
        item_encode(&welcome, &p->out);
        break;
    case ITEM_BEAT:
        p->beats++;
        if (it->hello.n_gpus > 0)
            p->gpus = it->hello.gpus[0];
        break;
    case ITEM_ASK: answer_ask(p, it); break;
    case ITEM_REPORT: take_report(p, it); break;
    case ITEM_SAVED: vec_push(&p->saved, it->saved.step); break;
    case ITEM_END: take_end(p, it); break;
    case ITEM_LEAVE: p->left = true; break;
    default: break;
    }
}

/* Takes each numbered item once; what comes again is acknowledged again, and a report
 * that waits is answered again. */
static void take_packet(struct play *p, struct slice packet)
{
    struct packet_head h;
    struct item it;
    uint64_t number;
    if (packet_open(p->reader, packet.p, packet.len, &h, NULL) < 0)
        return;
    p->agent = h.agent;
    str_cut(&p->out, 0);
    while (packet_next(p->reader, &it, &number, NULL) > 0) {
        bool again = number > 0 && number <= p->taken;
        if (number > p->taken + 1)
            continue;
        if (number > 0 && !again)
            p->taken = number;
        if (!again || (it.kind == ITEM_REPORT && it.report.wait))
            take(p, &it);
    }
    struct str items = p->out; /* its acknowledgement, in the header, is known now */
    p->out = (struct str)STR_INIT;
    begin(p);
    str_addn(&p->out, items.p, items.len);
    str_free(&items);
    flush(p);
}

bool play_run(struct play *p, bool (*enough)(const struct play *), double seconds)
{
    double until = clock_mono() + seconds;
    while (!enough(p)) {
        struct slice packet;
        double left = until - clock_mono();
        if (left <= 0 || socket_wait(p->socket, NULL, 0, left, NULL) < 0)
            return false;
        while (socket_receive(p->socket, &p->peer, &packet, NULL) > 0)
            take_packet(p, packet);
    }
    return true;
}
