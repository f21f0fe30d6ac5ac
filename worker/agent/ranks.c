#include "worker/agent/ranks.h"

#include "base/file.h"
#include "base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int ranks_open(const char *prefix, int32_t rank, struct err *e)
{
    struct str path = STR_INIT;
    str_addf(&path, "%s.%ld", prefix, (long)rank);
    int fd = open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int rc = fd < 0 ? err_sys(e, "%s", path.p) : fd;
    str_free(&path);
    return rc;
}

/* How surely a rank failed by itself: a launcher that finds one failed ends the others,
 * with SIGTERM first, which their shims hear too. */
static int blame(const struct shim_report *r)
{
    if (r->exec_errno || (r->oom && r->signal == SIGKILL))
        return 4; /* oom alone is true for all ranks of a node */
    if (r->evicted)
        return 1;
    if (r->signal == SIGKILL)
        return 2;
    return r->signal || r->exit_code ? 3 : 0;
}

static void add(struct ranks *all, const struct shim_report *r)
{
    struct shim_report *sum = &all->report;
    bool worse = all->reported == 0 || blame(r) > blame(sum) ||
                 (blame(r) == blame(sum) && r->rank < sum->rank);
    struct shim_report next = worse ? *r : *sum;
    next.oom = sum->oom | r->oom;
    if (__builtin_add_overflow(sum->strays, r->strays, &next.strays))
        next.strays = INT32_MAX; /* a file of anybody's bytes */
    next.cpu_seconds = sum->cpu_seconds + r->cpu_seconds;
    next.max_rss = sum->max_rss > r->max_rss ? sum->max_rss : r->max_rss;
    *sum = next;
    all->reported++;
}

static void read_rank(const char *path, struct ranks *all)
{
    struct str text = STR_INIT;
    struct shim_report r;
    if (file_read(path, sizeof(r), &text, NULL) == 0) {
        all->launched++;
        if (text.len == sizeof(r)) {
            memcpy(&r, text.p, sizeof(r));
            add(all, &r);
        }
    }
    unlink(path);
    str_free(&text);
}

int ranks_collect(const char *prefix, struct ranks *out, struct err *e)
{
    const char *slash = strrchr(prefix, '/'), *name = slash ? slash + 1 : prefix;
    struct str dir = STR_INIT;
    char **names;
    size_t n, len = strlen(name);
    *out = (struct ranks){0};
    str_addn(&dir, prefix, (size_t)(name - prefix));
    str_addc(&dir, '.'); /* "DIR/.", or "." */
    int rc = dir_list(dir.p, &names, &n, e);
    for (size_t i = 0; !rc && i < n; i++)
        if (strncmp(names[i], name, len) == 0 && names[i][len] == '.') {
            char *path = path_join(dir.p, names[i]);
            read_rank(path, out);
            free(path);
        }
    if (!rc)
        free(names);
    str_free(&dir);
    return rc;
}
