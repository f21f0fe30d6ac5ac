#include "launcher/requests.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/vec.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUEST_MAX 65536 /* bytes */

static const char *const op_names[] = {"stop", "pause", "set", "resume"};

static void encode(const struct request *r, struct str *out)
{
    char host[256] = "?";
    const struct passwd *pw = getpwuid(getuid());
    struct str who = STR_INIT;

    gethostname(host, sizeof(host) - 1);
    str_addf(&who, "%s@%s", pw ? pw->pw_name : "?", host);
    json_put_object(out);
    json_put_key(out, "op");
    json_put_str(out, op_names[r->op]);
    json_put_key(out, "trial");
    json_put_int(out, r->trial);
    if (r->op == REQUEST_SET) {
        json_put_key(out, "key");
        json_put_str(out, r->key);
        json_put_key(out, "value");
        json_put_str(out, r->value);
    }
    json_put_key(out, "who");
    json_put_str(out, who.p);
    json_put_close(out, '}');
    str_addc(out, '\n');
    str_free(&who);
}

int request_write(const char *dir, const struct request *r, char **path, struct err *e)
{
    struct str text = STR_INIT, name = STR_INIT;
    int rc;

    encode(r, &text);
    /* names sort by time; host and pid keep two writers apart */
    str_addf(&name, "%s/requests/%017.6f-%ld.json", dir, clock_wall(), (long)getpid());
    rc = file_write(name.p, text.p, text.len, 0600, e);
    str_free(&text);
    if (rc == 0)
        *path = str_take(&name);
    str_free(&name);
    return rc;
}

static int decode(const struct str *text, struct request *r)
{
    struct slice key, op = {0};
    int64_t trial = -1;
    struct json j;

    *r = (struct request){.trial = -1};
    json_begin(&j, text->p, text->len);
    json_object(&j);
    while (json_key(&j, &key)) {
        char **field = json_is(key, "key")     ? &r->key
                       : json_is(key, "value") ? &r->value
                       : json_is(key, "who")   ? &r->who
                                               : NULL;

        if (json_is(key, "op")) {
            op = json_string(&j);
        } else if (json_is(key, "trial")) {
            trial = json_int(&j);
        } else if (field) {
            free(*field);
            *field = json_text(json_string(&j));
        } else {
            json_skip(&j);
        }
    }
    json_end(&j);
    if (j.error)
        return ERR_SYNTAX;
    if (trial < -1 || trial > INT32_MAX)
        return ERR_RANGE;
    r->trial = (int32_t)trial;
    for (int i = 0; i <= REQUEST_RESUME; i++) {
        if (slice_eq(op, op_names[i])) {
            r->op = (enum request_op)i;
            return i == REQUEST_SET && (!r->key || !r->value) ? ERR_INVAL : 0;
        }
    }
    return ERR_INVAL;
}

static void request_clear(struct request *r)
{
    free(r->key);
    free(r->value);
    free(r->who);
}

static bool is_request(const char *name)
{
    size_t n = strlen(name);

    return n > 5 && strcmp(name + n - 5, ".json") == 0;
}

/* Out of the way, as NAME.bad; NAME is cut where that would be too long for a file. */
static void set_aside(const char *path, size_t folder,
                      void (*fn)(void *ctx, const struct request *r, const char *bad),
                      void *ctx)
{
    struct str bad = STR_INIT;

    str_add(&bad, path);
    str_cut(&bad, folder + NAME_MAX - 4);
    str_add(&bad, ".bad");
    if (rename(path, bad.p) == 0)
        fn(ctx, NULL, bad.p);
    str_free(&bad);
}

int requests_read(const char *dir,
                  void (*fn)(void *ctx, const struct request *r, const char *bad),
                  void *ctx, char ***done, struct err *e)
{
    char *folder = path_join(dir, "requests"), **names = NULL;
    VEC(char *) taken = {0};
    size_t n = 0;
    int rc = dir_list(folder, &names, &n, e);

    for (size_t i = 0; rc == 0 && i < n; i++) {
        char *path = is_request(names[i]) ? path_join(folder, names[i]) : NULL;
        struct str text = STR_INIT;
        struct request r = {0};

        int got = path ? file_read_regular(path, REQUEST_MAX, &text, NULL) : 0;
        if (path && got == 0 && decode(&text, &r) == 0) {
            fn(ctx, &r, NULL);
            vec_push(&taken, path);
            path = NULL;
        } else if (path && got != ERR_IO) { /* that may pass */
            set_aside(path, strlen(folder) + 1, fn, ctx);
        }
        request_clear(&r);
        str_free(&text);
        free(path);
    }
    vec_push(&taken, NULL);
    *done = taken.v;
    free(names);
    free(folder);
    return rc;
}

void requests_remove(char **done)
{
    for (size_t i = 0; done && done[i]; i++)
        unlink(done[i]);
    requests_free(done);
}

void requests_free(char **done)
{
    for (size_t i = 0; done && done[i]; i++)
        free(done[i]);
    free(done);
}
