#include "worker/train/grouped.h"

#include "base/vec.h"

#include <stdio.h>

/* What becomes a mean, once it is the sum. */
struct array {
    float *x;
    size_t n;
};

static _Thread_local struct comm *ranks;
static _Thread_local VEC(struct array) means;

static int find(struct device *d, char *name, size_t size, struct err *e)
{
    (void)d, (void)e;
    snprintf(name, size, "the host");
    return 0;
}

static int make_id(struct device *d, struct device_group_id *id, struct err *e)
{
    (void)d, (void)e;
    *id = (struct device_group_id){"the id"};
    return 0;
}

static int join(struct device *d, const struct device_group *g, struct err *e)
{
    (void)d, (void)g, (void)e;
    return 0;
}

static void nothing(struct device *d)
{
    (void)d;
}

static void mean(struct device *d, float *x, size_t n)
{
    (void)d;
    vec_push(&means, ((struct array){x, n}));
    comm_reduce(ranks, x, n);
}

static void mean_wait(struct device *d)
{
    (void)d;
    comm_reduce_wait(ranks);
    for (size_t k = 0; k < means.n; k++)
        for (size_t i = 0; i < means.v[k].n; i++)
            means.v[k].x[i] /= (float)comm_size(ranks);
    vec_free(&means);
}

static void send(struct device *d, int to, const float *x, size_t n)
{
    (void)d;
    comm_send(ranks, to, x, n * sizeof(*x));
}

static void sent(struct device *d)
{
    (void)d;
    comm_sent(ranks);
}

static void receive(struct device *d, int from, float *x, size_t n)
{
    (void)d;
    comm_receive(ranks, from, x, n * sizeof(*x));
}

const struct device_group_ops grouped_ops = {
    .find = find,
    .make_id = make_id,
    .join = join,
    .leave = nothing,
    .abandon = nothing,
    .mean = mean,
    .mean_wait = mean_wait,
    .send = send,
    .sent = sent,
    .receive = receive,
};

void grouped_make(struct device *d, struct device_ops *ops,
                  const struct device_group_ops *group, struct comm *c)
{
    *ops = *d->ops;
    ops->on_host = false;
    ops->group = group;
    d->ops = ops;
    ranks = c;
}
