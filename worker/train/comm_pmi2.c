/* TCP between ranks that Slurm's PMI2 makes known to each other. */
#include "base/mem.h"
#include "worker/train/comm_tcp.h"
#include "worker/train/pmi2.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What a rank tells the others before there is another way. */
struct word {
    int32_t code;
    char text[PMI2_BYTES - sizeof(int32_t)];
};

/* All ranks fail where one has, with the sentence of the lowest: as comm_agree(). */
static int agree(struct pmi2 *p, int size, int rc, struct err *e)
{
    struct word mine = {.code = rc}, *all = mem_alloc((size_t)size * sizeof(*all));
    struct err why;

    if (rc < 0)
        snprintf(mine.text, sizeof(mine.text), "%.*s", (int)sizeof(mine.text) - 1,
                 e->text);
    int said = pmi2_exchange(p, &mine, sizeof(mine), all, &why);
    if (said < 0 && rc == 0)
        rc = err_set(e, said, "%s", why.text);
    for (int i = 0; i < size && said == 0; i++)
        if (all[i].code < 0) {
            all[i].text[sizeof(all[i].text) - 1] = '\0';
            rc = err_set(e, all[i].code, "%s", all[i].text);
            break;
        }
    free(all);
    return rc;
}

static int meet(struct transport **t, struct pmi2 *p, int rank, int size, struct err *e)
{
    struct tcp_address mine, *all = mem_alloc((size_t)size * sizeof(*all));
    int listening = -1;
    int rc = agree(p, size, tcp_listen(&mine, &listening, e), e);

    if (rc == 0)
        rc = pmi2_exchange(p, &mine, sizeof(mine), all, e);
    if (rc == 0)
        rc = agree(p, size, transport_tcp(t, rank, size, listening, all, e), e);
    else if (listening >= 0)
        close(listening);
    if (rc < 0 && *t) {
        (*t)->ops->close(*t);
        *t = NULL;
    }
    free(all);
    return rc;
}

int transport_pmi2(struct transport **t, struct err *e)
{
    struct pmi2 *p;
    int rank, size, rc = pmi2_open(&p, &rank, &size, e);

    *t = NULL;
    if (rc == 0)
        rc = meet(t, p, rank, size, e);
    pmi2_close(p);
    return rc;
}
