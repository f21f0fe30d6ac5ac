#include "worker/train/alike.h"

#include "base/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RANKS_SHOWN 16

void alike_add(struct str *mine, const char *name, const char *value)
{
    str_addf(mine, "%s\t%s\n", name, value);
}

/* What rank 0 has. free() it. */
static char *of_rank_0(struct comm *c, const struct str *mine)
{
    uint64_t n = mine->len;

    comm_broadcast(c, 0, &n, sizeof(n));
    char *text = mem_alloc(n + 1);
    if (comm_rank(c) == 0)
        memcpy(text, mine->p, n);
    comm_broadcast(c, 0, text, n);
    return text;
}

static int compare(int rank, const char *mine, const char *zero, struct err *e)
{
    while (*mine && *zero) {
        size_t n = strcspn(mine, "\n"), n_zero = strcspn(zero, "\n");
        if (n != n_zero || memcmp(mine, zero, n) != 0) {
            size_t name = strcspn(mine, "\t"), name_zero = strcspn(zero, "\t");
            return err_set(e, ERR_INVAL, "%.*s is %.*s on rank %d, but %.*s on rank 0",
                           (int)name, mine, (int)(n - name - 1), mine + name + 1, rank,
                           (int)(n_zero - name_zero - 1), zero + name_zero + 1);
        }
        mine += n + 1;
        zero += n + 1;
    }
    return 0;
}

/* Adds to *e, which speaks of the first rank that is unlike rank 0, which others are. */
static void name_others(const double *unlike, int size, struct err *e)
{
    struct err first = *e;
    struct str others = STR_INIT;
    int n = 0;

    for (int i = 0; i < size; i++)
        if (unlike[i] > 0 && ++n > 1 && n <= RANKS_SHOWN)
            str_addf(&others, "%s %d", n == 2 ? ", and other than there on" : ",", i);
    err_set(e, first.code, "%s%s%s: all ranks must be started alike", first.text,
            others.p, n > RANKS_SHOWN ? ", ..." : "");
    str_free(&others);
}

int alike_check(struct comm *c, const struct str *mine, struct err *e)
{
    int size = comm_size(c), rank = comm_rank(c);

    if (size == 1)
        return 0;
    char *zero = of_rank_0(c, mine);
    double *unlike = mem_alloc((size_t)size * sizeof(*unlike));
    int rc = compare(rank, mine->p, zero, e);

    unlike[rank] = rc < 0;
    comm_sum(c, unlike, (size_t)size);
    rc = comm_agree(c, rc, e);
    if (rc < 0)
        name_others(unlike, size, e);
    free(unlike);
    free(zero);
    return rc;
}
