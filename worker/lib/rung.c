/* librung. It uses the C library and inline headers only, exports rung_* only, and
 * never prints but for the metrics of a program that is run by hand. */
#include "worker/lib/rung.h"

#include "base/json.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX 8192 /* bytes of an agent's line */

struct rung {
    bool active;
    int fd; /* -1: not connected */
    long until;
    char error[300];
    char *env; /* copies of RUNG_...=VALUE, each with its NUL; an empty one ends them */
    size_t received; /* bytes in `in` */
    char in[ANSWER_MAX];
};

/* Where there is no memory for another: as good as an agent that cannot be reached. */
static struct rung no_memory = {
    .active = true, .fd = -1, .error = "out of memory", .env = (char *)""};

static int fail(struct rung *r, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct rung *r, int code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->error, sizeof(r->error), fmt, args);
    va_end(args);
    return code;
}

/* ---- a line to send ---- */

struct text {
    char *p;
    size_t n, cap;
    bool failed; /* no memory */
};

static void put(struct text *t, const char *bytes, size_t n)
{
    if (t->failed)
        return;
    if (t->cap - t->n < n) {
        size_t cap = 2 * (t->cap + n);
        char *p = realloc(t->p, cap);
        if (!p) {
            t->failed = true;
            return;
        }
        t->p = p;
        t->cap = cap;
    }
    memcpy(t->p + t->n, bytes, n);
    t->n += n;
}

static void put_text(struct text *t, const char *s)
{
    put(t, s, strlen(s));
}

static void put_long(struct text *t, long v)
{
    char buf[32];
    put(t, buf, (size_t)snprintf(buf, sizeof(buf), "%ld", v));
}

/* As few digits as read back the same, with a point whatever the program's locale. */
static void put_finite(struct text *t, double v)
{
    char buf[40];
    locale_t c = newlocale(LC_ALL_MASK, "C", NULL), before = uselocale(c);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, sizeof(buf), "%.*g", digits, v);
        if (strtod(buf, NULL) == v)
            break;
    }
    uselocale(before);
    freelocale(c);
    put_text(t, buf);
}

static void put_json_number(struct text *t, double v)
{
    if (isnan(v))
        put_text(t, "\"NaN\"");
    else if (isinf(v))
        put_text(t, v > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else
        put_finite(t, v);
}

static void put_plain_number(struct text *t, double v)
{
    if (isfinite(v))
        put_finite(t, v);
    else
        put_text(t, isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
}

static void put_json_string(struct text *t, const char *s)
{
    char escape[8];
    put(t, "\"", 1);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            put(t, "\\", 1);
        if ((unsigned char)*s < 0x20)
            put(t, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04x", *s));
        else
            put(t, s, 1);
    }
    put(t, "\"", 1);
}

/* ---- the agent ---- */

static const char *env_get(const struct rung *r, const char *name, size_t n)
{
    for (const char *p = r->env; *p; p += strlen(p) + 1)
        if (strncmp(p, name, n) == 0 && p[n] == '=')
            return p + n + 1;
    return NULL;
}

static const char *setting(const struct rung *r, const char *name)
{
    return env_get(r, name, strlen(name));
}

static void disconnect(struct rung *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    r->received = 0;
}

static int connect_agent(struct rung *r)
{
    const char *path = setting(r, "RUNG_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || strlen(path) >= sizeof(to.sun_path))
        return fail(r, RUNG_ERR_AGENT, "RUNG_SOCKET is not a path of a unix socket");
    strcpy(to.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = -1;
    while (fd >= 0 && (rc = connect(fd, (struct sockaddr *)&to, sizeof(to))) < 0 &&
           errno == EINTR)
        ;
    if (rc < 0) {
        fail(r, RUNG_ERR_AGENT, "cannot reach the agent at %s: %s", path,
             strerror(errno));
        if (fd >= 0)
            close(fd);
        return RUNG_ERR_AGENT;
    }
    r->fd = fd;
    r->received = 0;
    return 0;
}

static bool send_line(struct rung *r, const struct text *line)
{
    for (size_t sent = 0; sent < line->n;) {
        ssize_t n = send(r->fd, line->p + sent, line->n - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            sent += (size_t)n;
    }
    return true;
}

/* Waits for a whole line in r->in; its length, 0 when the connection broke. */
static size_t receive_line(struct rung *r)
{
    r->received = 0; /* one line, one answer: nothing is left over */
    while (r->received < sizeof(r->in)) {
        ssize_t n = recv(r->fd, r->in + r->received, sizeof(r->in) - r->received, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        r->received += (size_t)n;
        if (r->in[r->received - 1] == '\n')
            return r->received - 1;
    }
    return 0;
}

/* An error's text, its escapes made readable. */
static void copy_error(struct rung *r, struct slice raw)
{
    size_t n = 0;
    for (size_t i = 0; i < raw.len && n + 1 < sizeof(r->error); i++) {
        if (raw.p[i] == '\\' && i + 1 < raw.len && strchr("\"\\/", raw.p[i + 1]))
            i++;
        r->error[n++] = raw.p[i];
    }
    r->error[n] = '\0';
}

/* {"decision":"continue","until":9,"save":true} or {"error":"..."} */
static int read_answer(struct rung *r, size_t n)
{
    static const char *const decisions[] = {"continue", "pause", "stop"};
    struct slice key, error = {"", 0}, word;
    struct json j;
    int decision = -1;
    long until = r->until;
    bool save = false;
    json_begin(&j, r->in, n);
    json_object(&j);
    while (json_key(&j, &key)) {
        if (json_is(key, "decision")) {
            word = json_string(&j);
            for (int i = 0; i < 3; i++)
                if (json_is(word, decisions[i]))
                    decision = i;
        } else if (json_is(key, "until")) {
            until = (long)json_int(&j);
        } else if (json_is(key, "save")) {
            save = json_bool(&j);
        } else if (json_is(key, "error")) {
            error = json_string(&j);
        } else {
            json_skip(&j);
        }
    }
    json_end(&j);
    if (!j.error && error.len > 0) {
        copy_error(r, error);
        return RUNG_ERR_REFUSED;
    }
    if (j.error || decision < 0)
        return fail(r, RUNG_ERR_AGENT, "the agent's answer cannot be understood");
    r->until = until;
    return decision | (save && decision == RUNG_CONTINUE ? RUNG_SAVE : 0);
}

/* Sends a line and reads the answer; once more over a new connection if it breaks: an
 * agent takes a repeated report for what it is. */
static int exchange(struct rung *r, const struct text *line)
{
    if (line->failed || r == &no_memory)
        return fail(r, RUNG_ERR_AGENT, "out of memory");
    for (int i = 0; i < 2; i++) {
        if (r->fd < 0 && connect_agent(r) < 0)
            return RUNG_ERR_AGENT;
        size_t n = send_line(r, line) ? receive_line(r) : 0;
        int rc = n > 0 ? read_answer(r, n) : RUNG_ERR_AGENT;
        if (rc == RUNG_ERR_AGENT)
            disconnect(r);
        if (n > 0)
            return rc;
    }
    return fail(r, RUNG_ERR_AGENT, "the agent closed the connection");
}

/* ---- the public functions ---- */

/* Copies the part of the environment that is ours, which the program may change. */
static char *copy_env(void)
{
    static const char ours[] = "RUNG_";
    struct text t = {0};
    for (char **e = environ; e && *e; e++)
        if (strncmp(*e, ours, sizeof(ours) - 1) == 0)
            put(&t, *e, strlen(*e) + 1);
    put(&t, "", 1);
    if (t.failed) {
        free(t.p);
        return NULL;
    }
    return t.p;
}

static long setting_long(const struct rung *r, const char *name, long missing)
{
    const char *text = setting(r, name);
    return r->active && text && *text ? strtol(text, NULL, 10) : missing;
}

struct rung *rung_open(void)
{
    struct rung *r = calloc(1, sizeof(*r));
    char *env = copy_env();
    if (!r || !env) {
        free(r);
        free(env);
        return &no_memory;
    }
    r->env = env;
    r->fd = -1;
    const char *path = setting(r, "RUNG_SOCKET");
    r->active = path && *path;
    r->until = setting_long(r, "RUNG_UNTIL", LONG_MAX);
    if (r->active)
        connect_agent(r); /* rung_error() tells; a report tries again */
    return r;
}

void rung_close(struct rung *r)
{
    if (!r || r == &no_memory)
        return;
    disconnect(r);
    free(r->env);
    free(r);
}

int rung_active(const struct rung *r)
{
    return r->active;
}

const char *rung_param(const struct rung *r, const char *name)
{
    static const char prefix[] = "RUNG_PARAM_";
    const size_t skip = sizeof(prefix) - 1, n = strlen(name);
    for (const char *p = r->env; *p; p += strlen(p) + 1)
        if (strncmp(p, prefix, skip) == 0 && strncmp(p + skip, name, n) == 0 &&
            p[skip + n] == '=')
            return p + skip + n + 1;
    return NULL;
}

long rung_trial(const struct rung *r)
{
    return setting_long(r, "RUNG_TRIAL", -1);
}

long rung_attempt(const struct rung *r)
{
    return setting_long(r, "RUNG_ATTEMPT", 0);
}

long rung_start(const struct rung *r)
{
    return setting_long(r, "RUNG_START", 0);
}

long rung_until(const struct rung *r)
{
    return r->until;
}

unsigned long long rung_seed(const struct rung *r)
{
    const char *text = setting(r, "RUNG_SEED");
    return r->active && text ? strtoull(text, NULL, 10) : 0;
}

const char *rung_checkpoint_dir(const struct rung *r)
{
    const char *dir = setting(r, "RUNG_CHECKPOINT_DIR");
    return r->active && dir && *dir ? dir : ".";
}

/* By hand: step=3 val_loss=0.21 */
static int print_report(struct rung *r, long step, size_t n, const struct rung_metric m[])
{
    struct text t = {0};
    put_text(&t, "step=");
    put_long(&t, step);
    for (size_t i = 0; i < n; i++) {
        put(&t, " ", 1);
        put_text(&t, m[i].name);
        put(&t, "=", 1);
        put_plain_number(&t, m[i].value);
    }
    put(&t, "\n", 1);
    if (t.failed || fwrite(t.p, 1, t.n, stdout) != t.n || fflush(stdout) != 0)
        fail(r, 0, "the report could not be printed");
    free(t.p);
    return RUNG_CONTINUE;
}

int rung_report(struct rung *r, long step, size_t n, const struct rung_metric m[])
{
    struct text t = {0};
    r->error[0] = '\0';
    if (step < 0 || (n > 0 && !m))
        return fail(r, RUNG_ERR_INVAL, "a report wants a step >= 0 and metrics");
    for (size_t i = 0; i < n; i++)
        if (!m[i].name || !*m[i].name)
            return fail(r, RUNG_ERR_INVAL, "metric %zu has no name", i);
    if (!r->active)
        return print_report(r, step, n, m);
    put_text(&t, "{\"step\":");
    put_long(&t, step);
    put_text(&t, ",\"metrics\":{");
    for (size_t i = 0; i < n; i++) {
        put(&t, ",", i > 0);
        put_json_string(&t, m[i].name);
        put(&t, ":", 1);
        put_json_number(&t, m[i].value);
    }
    put_text(&t, "}}\n");
    int rc = exchange(r, &t);
    free(t.p);
    return rc;
}

int rung_saved(struct rung *r, long step)
{
    struct text t = {0};
    r->error[0] = '\0';
    if (step < 0)
        return fail(r, RUNG_ERR_INVAL, "a saved step cannot be negative");
    if (!r->active)
        return 0;
    put_text(&t, "{\"saved\":");
    put_long(&t, step);
    put_text(&t, "}\n");
    int rc = exchange(r, &t);
    free(t.p);
    return rc < 0 ? rc : 0;
}

const char *rung_error(const struct rung *r)
{
    return r->error;
}
