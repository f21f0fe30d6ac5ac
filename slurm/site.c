#include "slurm/site.h"

#include "base/num.h"
#include "base/units.h"
#include "slurm/command.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- words ---- */

static char *copy(struct slice s)
{
    return mem_strndup(s.p, s.len);
}

/* The same, but NULL for what means that there is no such thing. */
static char *copy_some(struct slice s)
{
    bool none = s.len == 0 || slice_eq(s, "ALL") || slice_eq(s, "N/A") ||
                slice_eq(s, "NONE") || slice_eq(s, "(null)");

    return none ? NULL : copy(s);
}

/* Takes what is before the first such character off; false at the end. */
static bool next_field(struct slice *rest, char separator, struct slice *field)
{
    const char *end = rest->len ? memchr(rest->p, separator, rest->len) : NULL;

    if (!rest->p)
        return false;
    *field = (struct slice){rest->p, end ? (size_t)(end - rest->p) : rest->len};
    rest->p = end ? end + 1 : NULL;
    rest->len -= field->len + (end != NULL);
    return true;
}

static int64_t count_of(struct slice s)
{
    int64_t n;

    return num_parse_int(s.p, s.len, &n) == 0 && n >= 0 ? n : -1;
}

static double seconds_of(struct slice s)
{
    char text[32];
    double seconds;

    if (slice_eq(s, "UNLIMITED") || slice_eq(s, "INFINITE"))
        return INFINITY;
    if (s.len >= sizeof(text))
        return NAN;
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    return duration_parse(text, &seconds, NULL) == 0 ? seconds : NAN;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

bool slurm_listed(struct slice list, const char *word, struct slice *value)
{
    struct slice item;

    while (next_field(&list, ',', &item)) {
        struct slice name;

        if (next_field(&item, '=', &name) && slice_eq(name, word)) {
            if (value)
                *value = item.p ? item : SLICE("");
            return true;
        }
    }
    return false;
}

/* "32", or "1000G" in MiB. */
static int64_t amount_of(struct slice s)
{
    char text[32];
    int64_t bytes;

    if (s.len == 0 || !strchr("KMGTP", s.p[s.len - 1]))
        return count_of(s);
    snprintf(text, sizeof(text), "%.*s", (int)s.len, s.p);
    return size_parse(text, &bytes, NULL) == 0 ? bytes >> 20 : -1;
}

int64_t slurm_tres(const char *list, const char *name)
{
    struct slice rest = slice_of(list), item, word;
    int64_t n = -1;

    while (next_field(&rest, ',', &item)) {
        if (next_field(&item, '=', &word) && slice_eq(word, name) && item.p)
            n = least(n, amount_of(item));
    }
    return n;
}

int64_t slurm_gres_gpus(const char *gres)
{
    int64_t gpus = 0;

    while (gres && *gres) {
        size_t n = strcspn(gres, ",("), words = n;
        int64_t count;

        if (n >= 3 && strncmp(gres, "gpu", 3) == 0 && (n == 3 || strchr(":=", gres[3]))) {
            while (words > 0 && !strchr(":=", gres[words - 1]))
                words--;
            count = count_of((struct slice){gres + words, n - words});
            gpus += count >= 0 ? count : 1; /* "gpu" and "gpu:h100" are one */
        }
        gres += n;
        if (*gres == '(') /* "(S:0,2)" */
            gres += strcspn(gres, ")");
        gres += strcspn(gres, ",");
        gres += *gres == ',';
    }
    return gpus;
}

/* ---- scontrol show partition ---- */

/* What stands behind "NAME=" in a line of such words; empty when it is not there. */
static struct slice field_of(struct slice line, const char *name)
{
    struct slice word, key;

    while (next_field(&line, ' ', &word)) {
        if (next_field(&word, '=', &key) && slice_eq(key, name) && word.p)
            return word;
    }
    return SLICE("");
}

void site_read_partitions(struct site *s, struct slice text)
{
    struct slice line;

    while (command_next_line(&text, &line)) {
        struct slice name = field_of(line, "PartitionName");

        if (name.len == 0)
            continue;
        struct site_partition p = {
            .name = copy(name),
            .state = copy(field_of(line, "State")),
            .is_default = slice_eq(field_of(line, "Default"), "YES"),
            .max_time = seconds_of(field_of(line, "MaxTime")),
            .default_time = seconds_of(field_of(line, "DefaultTime")),
            .whole_memory = slice_eq(field_of(line, "DefMemPerNode"), "UNLIMITED") &&
                            slice_eq(field_of(line, "JobDefaults"), "(null)"),
            .accounts = copy_some(field_of(line, "AllowAccounts")),
            .accounts_denied = copy_some(field_of(line, "DenyAccounts")),
            .qos = copy_some(field_of(line, "AllowQos")),
            .qos_denied = copy_some(field_of(line, "DenyQos")),
            .own_qos = copy_some(field_of(line, "QoS")),
        };
        vec_push(&s->partitions, p);
    }
}

const struct site_partition *site_partition(const struct site *s, const char *name)
{
    for (size_t i = 0; i < s->partitions.n; i++) {
        if (strcmp(s->partitions.v[i].name, name) == 0)
            return &s->partitions.v[i];
    }
    return NULL;
}

/* ---- sinfo ---- */

/* Beginnings of states in which a node runs nothing, nor will by itself; and a '*' at the
 * end says that it does not answer. */
static bool is_usable(struct slice state)
{
    static const char *const out[] = {"down",  "drain", "fail",   "maint",      "unk",
                                      "inval", "error", "future", "no_respond", NULL};

    for (const char *const *o = out; *o; o++) {
        size_t n = strlen(*o);

        if (state.len >= n && strncasecmp(state.p, *o, n) == 0)
            return false;
    }
    return state.len > 0 && state.p[state.len - 1] != '*';
}

void site_read_nodes(struct site *s, struct slice text)
{
    struct slice line, f[6];

    while (command_next_line(&text, &line)) {
        size_t n = 0;

        while (n < 6 && next_field(&line, '|', &f[n]))
            n++;
        if (n < 6 || count_of(f[1]) < 0 || f[0].len == 0)
            continue;
        f[0].len -= f[0].p[f[0].len - 1] == '*'; /* the default partition */
        struct site_nodes nodes = {.partition = copy(f[0]),
                                   .gres = copy_some(f[5]),
                                   .usable = is_usable(f[2]),
                                   .n = count_of(f[1]),
                                   .cpus = count_of(f[3]),
                                   .megabytes = count_of(f[4])};
        nodes.gpus = slurm_gres_gpus(nodes.gres);
        vec_push(&s->nodes, nodes);
    }
}

/* ---- sacctmgr ---- */

/* The cell of a row below the head's word; empty when there is no such column. */
static struct slice cell(struct slice head, struct slice row, const char *name)
{
    struct slice word, value;

    while (next_field(&head, '|', &word) && next_field(&row, '|', &value)) {
        if (slice_eq(word, name))
            return value;
    }
    return SLICE("");
}

static double wall_of(struct slice head, struct slice row)
{
    double seconds = seconds_of(cell(head, row, "MaxWall"));

    return isnan(seconds) ? INFINITY : seconds;
}

/* The least that any of these columns allows. */
static int64_t least_of(struct slice head, struct slice row, const char *const names[])
{
    int64_t n = -1;

    for (; *names; names++)
        n = least(n, count_of(cell(head, row, *names)));
    return n;
}

/* All that these columns limit, in one list. */
static char *tres_of(struct slice head, struct slice row, const char *const names[])
{
    struct str all = STR_INIT;

    for (; *names; names++) {
        struct slice list = cell(head, row, *names);

        if (list.len == 0)
            continue;
        str_add(&all, all.len ? "," : "");
        str_addn(&all, list.p, list.len);
    }
    return all.len ? str_take(&all) : NULL;
}

/* Columns are found by their heads, which are the same in all versions; so each may have
 * others, too. */
static struct site_limits limits_of(struct slice head, struct slice row)
{
    static const char *const submitted[] = {"MaxSubmit", "MaxSubmitPU", "MaxSubmitPA",
                                            "GrpSubmit", NULL};
    static const char *const running[] = {"MaxJobs", "MaxJobsPU", "MaxJobsPA", "GrpJobs",
                                          NULL};
    static const char *const of_job[] = {"MaxTRES", NULL};
    static const char *const of_all[] = {"MaxTRESPU", "MaxTRESPA", "GrpTRES", NULL};

    return (struct site_limits){
        .partition = copy_some(cell(head, row, "Partition")),
        .qos = copy_some(cell(head, row, "QOS")),
        .own_qos = copy_some(cell(head, row, "Def QOS")),
        .submitted = least_of(head, row, submitted),
        .running = least_of(head, row, running),
        .wall = wall_of(head, row),
        .tres_of_job = tres_of(head, row, of_job),
        .tres_of_all = tres_of(head, row, of_all),
    };
}

/* Rows below a head that has this column, whose cell is the name. */
static bool next_row(struct slice *text, struct slice *head, struct slice *row,
                     const char *name)
{
    while (command_next_line(text, row)) {
        if (!head->p && cell(*row, *row, name).len > 0)
            *head = *row;
        else if (head->p && cell(*head, *row, name).len > 0)
            return true;
    }
    return false;
}

void site_read_associations(struct site *s, struct slice text, struct slice cluster)
{
    struct slice head = {NULL, 0}, row;

    while (next_row(&text, &head, &row, "Account")) {
        struct slice its = cell(head, row, "Cluster");
        struct site_limits l;

        if (its.len != cluster.len || strncasecmp(its.p, cluster.p, its.len) != 0)
            continue;
        l = limits_of(head, row);
        l.name = copy(cell(head, row, "Account"));
        vec_push(&s->associations, l);
    }
}

void site_read_qos(struct site *s, struct slice text)
{
    struct slice head = {NULL, 0}, row;

    while (next_row(&text, &head, &row, "Name")) {
        struct site_limits l = limits_of(head, row);

        l.name = copy(cell(head, row, "Name"));
        vec_push(&s->qos, l);
    }
}

const struct site_limits *site_qos(const struct site *s, const char *name)
{
    for (size_t i = 0; i < s->qos.n; i++) {
        if (strcmp(s->qos.v[i].name, name) == 0)
            return &s->qos.v[i];
    }
    return NULL;
}

/* ---- srun --mpi=list ---- */

/* 20.11 prints "srun: pmix_v3" on stderr, later ones a tab and "pmix" on stdout, and then
 * "specific pmix plugin versions available: pmix_v4,pmix_v5". */
void site_read_mpi(struct site *s, struct slice text)
{
    struct slice line, word;

    while (command_next_line(&text, &line)) {
        const char *colon = memchr(line.p, ':', line.len);

        if (colon) {
            line.len -= (size_t)(colon + 1 - line.p);
            line.p = colon + 1;
        }
        while (next_field(&line, ',', &word)) {
            while (word.len > 0 && *word.p == ' ')
                word = (struct slice){word.p + 1, word.len - 1};
            if (word.len > 0 && !memchr(word.p, ' ', word.len))
                vec_push(&s->mpi, copy(word));
        }
    }
}

/* ---- the whole ---- */

static void free_limits(struct site_limits *l)
{
    free(l->name);
    free(l->partition);
    free(l->qos);
    free(l->own_qos);
    free(l->tres_of_job);
    free(l->tres_of_all);
}

void site_free(struct site *s)
{
    for (size_t i = 0; i < s->partitions.n; i++) {
        struct site_partition *p = &s->partitions.v[i];

        free(p->name);
        free(p->state);
        free(p->accounts);
        free(p->accounts_denied);
        free(p->qos);
        free(p->qos_denied);
        free(p->own_qos);
    }
    for (size_t i = 0; i < s->nodes.n; i++) {
        free(s->nodes.v[i].partition);
        free(s->nodes.v[i].gres);
    }
    for (size_t i = 0; i < s->associations.n; i++)
        free_limits(&s->associations.v[i]);
    for (size_t i = 0; i < s->qos.n; i++)
        free_limits(&s->qos.v[i]);
    for (size_t i = 0; i < s->mpi.n; i++)
        free(s->mpi.v[i]);
    vec_free(&s->partitions);
    vec_free(&s->nodes);
    vec_free(&s->associations);
    vec_free(&s->qos);
    vec_free(&s->mpi);
}
