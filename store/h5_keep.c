/* A kept version of sweep.h5 is called .sweep.h5.prev-1763655343.981932, after the time
 * at which it was replaced. */
#include "store/h5_keep.h"

#include "base/file.h"
#include "base/mem.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char *dir;        /* of the file, "." or with its slash */
    const char *name; /* of the file in it */
    struct str prev;  /* what names of kept versions begin with */
    struct str tmp;   /* and those of temporary files */
};

static void place_init(struct place *p, const char *path)
{
    const char *slash = strrchr(path, '/');

    p->dir = slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    p->name = slash ? slash + 1 : path;
    p->prev = p->tmp = (struct str)STR_INIT;
    str_addf(&p->prev, ".%s.prev-", p->name);
    str_addf(&p->tmp, "%s.tmp-", p->name);
}

static void place_clear(struct place *p)
{
    free(p->dir);
    str_free(&p->prev);
    str_free(&p->tmp);
}

void version_keep(const char *path, double now)
{
    struct place p;
    struct str name = STR_INIT;

    place_init(&p, path);
    str_addf(&name, "%s%.6f", p.prev.p, now);
    char *to = path_join(p.dir, name.p);
    int rc = link(path, to);
    (void)rc; /* the first version, or no links here: readers elsewhere may have to reopen
               */
    free(to);
    str_free(&name);
    place_clear(&p);
}

static bool begins_with(const char *name, const struct str *with)
{
    return strncmp(name, with->p, with->len) == 0;
}

void versions_tidy(const char *path, double now)
{
    struct place p;
    struct stat st;
    char **names;
    size_t n, kept = 0;
    int64_t bytes = 0;

    place_init(&p, path);
    if (dir_list(p.dir, &names, &n, NULL) != 0) {
        place_clear(&p);
        return;
    }
    for (size_t i = n; i-- > 0;) { /* of the same length, so the newest come first */
        bool prev = begins_with(names[i], &p.prev), tmp = begins_with(names[i], &p.tmp);
        if (!prev && !tmp)
            continue;
        char *file = path_join(p.dir, names[i]);
        if (lstat(file, &st) == 0 && S_ISREG(st.st_mode)) {
            double since =
                prev ? strtod(names[i] + p.prev.len, NULL) : (double)st.st_mtime;
            bool old = !(fabs(now - since) <= KEEP_SECONDS);
            bytes += prev ? st.st_size : 0;
            if (old || (prev && kept > 0 && bytes > KEEP_BYTES))
                unlink(file);
            else
                kept += prev;
        }
        free(file);
    }
    free(names);
    place_clear(&p);
}
