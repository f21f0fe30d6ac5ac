/* The small files of a sweep's directory, each with the input as what is in it: requests,
 * controller.json, the agents' key, the reports of ranks. Read or refused; what was read,
 * written by our own writer, reads as the same. */
#include "base/file.h"
#include "base/mem.h"
#include "launcher/requests.h"
#include "tests/fuzz/fuzz.h"
#include "wire/keys.h"
#include "worker/agent/ranks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *below(const char *name)
{
    return path_join(fuzz_dir(), name);
}

static void make_dir(const char *name)
{
    char *path = below(name);

    FUZZ_CHECK(dir_remove(path, NULL) == 0 && dir_make(path, 0700, NULL) == 0);
    free(path);
}

/* ---- requests/ ---- */

struct seen {
    struct request r;
    int good, bad;
};

static char *keep(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static void on_request(void *ctx, const struct request *r, const char *bad)
{
    struct seen *s = ctx;

    if (!r) {
        s->bad++;
        FUZZ_CHECK(file_exists(bad));
        return;
    }
    s->good++;
    FUZZ_CHECK(r->trial >= -1 && (r->op != REQUEST_SET || (r->key && r->value)));
    s->r = (struct request){r->op, r->trial, keep(r->key), keep(r->value), keep(r->who)};
}

static void read_requests(struct seen *s)
{
    char **done;

    *s = (struct seen){0};
    FUZZ_CHECK(requests_read(fuzz_dir(), on_request, s, &done, NULL) == 0);
    FUZZ_CHECK(s->good + s->bad == 1);
    FUZZ_CHECK(s->good == 1 ? done[0] && !done[1] : !done[0]);
    requests_remove(done);
}

static void seen_free(struct seen *s)
{
    free(s->r.key);
    free(s->r.value);
    free(s->r.who);
}

static void requests(const uint8_t *data, size_t n)
{
    struct seen once, twice;
    char *path;

    make_dir("requests");
    fuzz_file("requests/1.json", data, n);
    read_requests(&once);
    if (once.good && request_write(fuzz_dir(), &once.r, &path, NULL) == 0) {
        read_requests(&twice);
        FUZZ_CHECK(twice.good && !file_exists(path));
        FUZZ_CHECK(once.r.op == twice.r.op && once.r.trial == twice.r.trial);
        if (once.r.op == REQUEST_SET)
            FUZZ_CHECK(strcmp(once.r.key, twice.r.key) == 0 &&
                       strcmp(once.r.value, twice.r.value) == 0);
        seen_free(&twice);
        free(path);
    }
    seen_free(&once);
}

/* ---- controller.json ---- */

static void controller(const uint8_t *data, size_t n)
{
    struct controller_file once, twice;
    struct err e = {0};
    int rc;

    memset(&once, 0, sizeof(once));
    memset(&twice, 0, sizeof(twice));
    fuzz_file("controller.json", data, n);
    rc = controller_file_read(fuzz_dir(), &once, &e);
    FUZZ_CHECK(rc == 0 || *e.text);
    if (rc)
        return;
    FUZZ_CHECK(once.epoch >= 1);
    FUZZ_CHECK(controller_file_write(fuzz_dir(), &once, NULL) == 0);
    FUZZ_CHECK(controller_file_read(fuzz_dir(), &twice, &e) == 0);
    FUZZ_CHECK(once.since == twice.since || (isnan(once.since) && isnan(twice.since)));
    FUZZ_CHECK(once.epoch == twice.epoch && once.pid == twice.pid &&
               once.pid_start == twice.pid_start);
    FUZZ_CHECK(strcmp(once.address, twice.address) == 0 &&
               strcmp(once.host, twice.host) == 0 &&
               strcmp(once.state, twice.state) == 0 &&
               strcmp(once.public_key, twice.public_key) == 0);
}

/* ---- keys/ ---- */

static void keys(const uint8_t *data, size_t n)
{
    struct key_pair k;
    struct err e = {0};

    make_dir("keys");
    fuzz_file("keys/agent.pub", data, n);
    fuzz_file("keys/agent.key", data, n);
    if (keys_load(fuzz_dir(), &k, &e) == 0)
        FUZZ_CHECK(strlen(k.public_key) == KEY_TEXT - 1 &&
                   memcmp(k.secret_key, data, KEY_TEXT - 1) == 0);
    else
        FUZZ_CHECK(*e.text);
}

/* ---- reports of ranks: the input's halves are two of them ---- */

static void ranks(const uint8_t *data, size_t n)
{
    struct ranks r;
    char *prefix = below("report");

    fuzz_file("report.0", data, n / 2);
    fuzz_file("report.1", data + n / 2, n - n / 2);
    FUZZ_CHECK(ranks_collect(prefix, &r, NULL) == 0);
    FUZZ_CHECK(r.launched <= 2 && r.reported <= r.launched);
    FUZZ_CHECK(ranks_collect(prefix, &r, NULL) == 0 && r.launched == 0);
    free(prefix);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    requests(data, n);
    controller(data, n);
    keys(data, n);
    ranks(data, n);
    return 0;
}
