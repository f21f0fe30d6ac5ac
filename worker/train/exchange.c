#include "worker/train/exchange.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct exchange {
    struct exchange_config config;
    struct comm *comm;
    struct device *device;
    const struct device_group_ops *group; /* of which the device is one; NULL: none */
    pthread_mutex_t ending;
    bool copies; /* the device's memory is its own, and there are other ranks */
    float *sums; /* [n], the gradients in the host's memory */
    /* On their way; kept, for their memory. */
    float *sent, *received;
    size_t room_sent, room_received;
};

const char *const exchange_kinds[] = {"auto", "host", "nccl", NULL};

/* ---- devices that exchange by themselves ---- */

/* Of this thread, or one of the device's: the first to come here ends the process. Where
 * a rank has died, that is better said by those who know which. */
static void broken(void *arg, const char *text)
{
    struct exchange *x = arg;

    pthread_mutex_lock(&x->ending);
    comm_wait_lost(x->comm);
    x->config.lost(x->config.arg, text);
}

static void abandon(void *arg)
{
    const struct exchange *x = arg;

    x->group->abandon(x->device);
}

/* Whether all ranks have what it takes, and the same. */
static int find(struct exchange *x, const struct device_group_ops *g, char name[64],
                struct err *e)
{
    char first[64];
    int rc = g ? g->find(x->device, name, sizeof(first), e)
               : err_set(e, ERR_UNSUPPORTED, "NCCL is for GPUs, and there is none here");

    rc = comm_agree(x->comm, rc, e);
    if (rc < 0)
        return rc;
    memcpy(first, name, sizeof(first));
    comm_broadcast(x->comm, 0, first, sizeof(first));
    if (strcmp(first, name) != 0)
        rc = err_set(e, ERR_UNSUPPORTED, "rank 0 has %s, and rank %d has %s", first,
                     comm_rank(x->comm), name);
    return comm_agree(x->comm, rc, e);
}

static int join(struct exchange *x, const struct device_group_ops *g, struct err *e)
{
    struct device_group group = {
        .rank = comm_rank(x->comm),
        .size = comm_size(x->comm),
        .seconds = x->config.seconds,
        .broken = broken,
        .arg = x,
    };
    int rc = group.rank == 0 ? g->make_id(x->device, &group.id, e) : 0;

    rc = comm_agree(x->comm, rc, e);
    if (rc < 0)
        return rc;
    comm_broadcast(x->comm, 0, &group.id, sizeof(group.id));
    rc = g->join(x->device, &group, e);
    bool joined = rc == 0;
    rc = comm_agree(x->comm, rc, e);
    if (rc < 0 && joined) /* others have not */
        g->abandon(x->device);
    return rc;
}

/* On failure it is as if it had not been tried. */
static int make_group(struct exchange *x, struct err *e)
{
    const struct device_group_ops *g = x->device->ops->group;
    char name[64] = "";
    int rc = find(x, g, name, e);

    if (rc == 0)
        rc = join(x, g, e);
    if (rc < 0) {
        if (g)
            g->leave(x->device);
        return rc;
    }
    x->group = g;
    comm_at_loss(x->comm, abandon, x);
    if (x->config.notes)
        str_addf(x->config.notes,
                 "what ranks exchange goes from device to device, by %s\n", name);
    return 0;
}

static int choose(struct exchange *x, struct err *e)
{
    const char *kind = x->config.kind;
    bool must = strcmp(kind, "nccl") == 0, several = comm_size(x->comm) > 1;
    struct err why = {0};

    if (!must && (strcmp(kind, "host") == 0 || x->device->ops->on_host || !several))
        return 0;
    int rc = make_group(x, &why);
    if (rc < 0 && must)
        return err_set(e, rc, "--exchange nccl: %s", why.text);
    if (rc < 0 && x->config.notes)
        str_addf(x->config.notes,
                 "what ranks exchange goes through the host's memory: %s\n", why.text);
    return 0;
}

/* ---- opening ---- */

int exchange_open(struct exchange **out, const struct exchange_config *config,
                  struct err *e)
{
    struct exchange *x = mem_alloc(sizeof(*x));

    *x = (struct exchange){
        .config = *config, .comm = config->comm, .device = config->device};
    pthread_mutex_init(&x->ending, NULL);
    int rc = choose(x, e);
    if (rc < 0) {
        exchange_close(x);
        return rc;
    }
    x->copies = !x->group && !x->device->ops->on_host && comm_size(x->comm) > 1;
    if (x->copies)
        x->sums = mem_alloc(config->n * sizeof(*x->sums));
    *out = x;
    return 0;
}

void exchange_close(struct exchange *x)
{
    if (!x)
        return;
    if (x->group) {
        comm_at_loss(x->comm, NULL, NULL);
        x->group->leave(x->device);
    }
    pthread_mutex_destroy(&x->ending);
    free(x->sums);
    free(x->sent);
    free(x->received);
    free(x);
}

/* ---- from one rank to another ---- */

static float *room(float **p, size_t *has, size_t n)
{
    if (n > *has) {
        *p = mem_resize(*p, n, sizeof(**p));
        *has = n;
    }
    return *p;
}

void exchange_send(struct exchange *x, int to, const float *p, size_t n)
{
    if (x->group) {
        x->group->send(x->device, to, p, n);
        return;
    }
    if (x->copies) {
        comm_sent(x->comm); /* what was sent last lies where this goes */
        float *copy = room(&x->sent, &x->room_sent, n);
        x->device->ops->download(x->device, copy, p, n * sizeof(*p), NULL);
        p = copy;
    }
    comm_send(x->comm, to, p, n * sizeof(*p));
}

void exchange_sent(struct exchange *x)
{
    if (x->group)
        x->group->sent(x->device);
    else
        comm_sent(x->comm);
}

void exchange_receive(struct exchange *x, int from, float *p, size_t n)
{
    if (x->group) {
        x->group->receive(x->device, from, p, n);
        return;
    }
    float *to = x->copies ? room(&x->received, &x->room_received, n) : p;

    comm_receive(x->comm, from, to, n * sizeof(*p));
    if (x->copies)
        x->device->ops->upload(x->device, p, to, n * sizeof(*p));
}

/* ---- gradients ---- */

float exchange_weight(const struct exchange *x)
{
    return x->group ? (float)comm_size(x->comm) : 1;
}

void exchange_reduce(struct exchange *x, size_t from, size_t to)
{
    size_t n = to - from;

    if (x->group) {
        if (n)
            x->group->mean(x->device, x->config.gradients + from, n);
        return;
    }
    float *g = (x->copies ? x->sums : x->config.gradients) + from;

    if (x->copies)
        x->device->ops->download(x->device, g, x->config.gradients + from, n * sizeof(*g),
                                 NULL);
    comm_reduce(x->comm, g, n);
}

void exchange_progress(struct exchange *x)
{
    if (!x->group)
        comm_progress(x->comm);
}

void exchange_reduce_wait(struct exchange *x)
{
    if (x->group) {
        x->group->mean_wait(x->device);
        return;
    }
    comm_reduce_wait(x->comm);
    if (x->copies)
        x->device->ops->upload(x->device, x->config.gradients, x->sums,
                               x->config.n * sizeof(*x->sums));
}

int exchange_agree(struct exchange *x, int rc, struct err *e)
{
    if (x->group && rc < 0 && rc != ERR_FULL) {
        abandon(x);
        broken(x, e->text);
    }
    return comm_agree(x->comm, rc, e);
}
