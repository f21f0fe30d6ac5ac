#include "worker/train/trainer_private.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/proc.h"
#include "worker/train/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Seconds that devices have to come together: of thousands of ranks it takes minutes. */
#define JOIN_SECONDS        60
#define JOIN_SECONDS_A_RANK 0.1

#define METRIC_NAME_(id, name) #name,
const char *const metric_names[METRICS] = {METRIC_MAP(METRIC_NAME_)};
#undef METRIC_NAME_

int64_t trainer_steps(size_t samples, size_t batch_size)
{
    return (int64_t)((samples + batch_size - 1) / batch_size);
}

/* ---- what the device holds ---- */

static int attach_samples(struct device *d, const struct samples *s, struct attached *a,
                          struct err *e)
{
    int rc = 0;

    if (s->n)
        rc = d->ops->attach(d, s->x, samples_bytes(s), &a->x, e);
    if (s->n && rc == 0)
        rc = d->ops->attach(d, s->y, s->n * sizeof(*s->y), &a->y, e);
    return rc;
}

static int feed_open(struct feed *f, struct trainer *t, const struct part *p,
                     struct err *e)
{
    const struct samples *s = p->samples;
    const struct attached *a = &t->attached[s == &t->data->test];
    struct device *d = t->device;
    bool planar;
    struct image image = samples_image(s, &planar);
    void *order;
    int rc = d->ops->allocate(d, p->n * sizeof(*f->order), &order, e);

    if (rc < 0)
        return rc;
    f->part = p;
    f->order = order;
    f->labels = a->y;
    f->gather = (struct device_gather){
        .x = a->x,
        .type = s->type,
        .stride = s->stride,
        .features = s->features,
        .mean = t->mean,
        .scale = t->scale,
        .planes = t->model->images && planar ? image.c : 1,
        .image = {image.h, image.w, planar ? 1 : image.c},
    };
    d->ops->upload(d, f->order, p->index, p->n * sizeof(*f->order));
    return 0;
}

/* Room for how the training samples are moved, if they are. */
static int open_moves(struct trainer *t, struct err *e)
{
    const struct augmentation *a = &t->config.augmentation;
    size_t n = t->data->training.n;
    bool planar;
    struct image i = samples_image(&t->data->train, &planar);
    size_t side = i.h < i.w ? i.h : i.w;
    void *moves;

    if (!a->crop && !a->flip)
        return 0;
    if (i.h == 1 && i.w == 1)
        return err_set(e, ERR_INVAL,
                       "--%s is for images, samples of two or three dimensions: these "
                       "are lists of %zu numbers",
                       a->crop ? "crop" : "flip", i.c);
    if (a->crop >= side)
        return err_set(e, ERR_INVAL,
                       "--crop %zu could leave nothing of images of %zux%zu: below %zu",
                       a->crop, i.h, i.w, side);
    t->moves = mem_resize(NULL, n, sizeof(*t->moves));
    int rc = t->device->ops->allocate(t->device, n * sizeof(*t->moves), &moves, e);
    if (rc == 0)
        t->training.moves = moves;
    return rc;
}

/* All ranks at once, with the same result. */
static int open_exchange(struct trainer *t, struct err *e)
{
    const struct trainer_config *c = &t->config;

    return exchange_open(
        &t->exchange,
        &(struct exchange_config){
            .kind = c->exchange ? c->exchange : "auto",
            .comm = c->comm,
            .device = t->device,
            .gradients = t->model->gradients,
            .n = t->model->n,
            .seconds = JOIN_SECONDS + JOIN_SECONDS_A_RANK * comm_size(c->comm),
            .lost = c->lost,
            .arg = c->lost_arg,
            .notes = c->notes,
        },
        e);
}

static int open_all(struct trainer *t, struct err *e)
{
    struct device *d = t->device;
    size_t features = t->data->train.features;
    void *totals;
    int rc = open_exchange(t, e);

    if (rc < 0)
        return rc;
    rc = attach_samples(d, &t->data->train, &t->attached[0], e);
    if (rc == 0)
        rc = attach_samples(d, &t->data->test, &t->attached[1], e);
    if (rc == 0)
        rc = d->ops->attach(d, t->data->mean, features * sizeof(float), &t->mean, e);
    if (rc == 0)
        rc = d->ops->attach(d, t->data->scale, features * sizeof(float), &t->scale, e);
    if (rc == 0)
        rc = feed_open(&t->training, t, &t->data->training, e);
    if (rc == 0)
        rc = open_moves(t, e);
    if (rc == 0)
        rc = feed_open(&t->validation, t, &t->data->validation, e);
    if (rc == 0)
        rc = d->ops->allocate(d, sizeof(*t->totals), &totals, e);
    if (rc == 0)
        t->totals = totals;
    rc = comm_agree(t->config.comm, rc, e);
    return rc < 0 ? rc : step_open(t, e);
}

struct trainer *trainer_create(struct device *device, struct data *data,
                               struct model *model, struct optimizer *optimizer,
                               const struct trainer_config *config, struct err *e)
{
    struct trainer *t = mem_alloc(sizeof(*t));

    t->device = device;
    t->data = data;
    t->model = model;
    t->optimizer = optimizer;
    t->config = *config;
    t->shuffled = mem_resize(NULL, data->training.n, sizeof(*t->shuffled));
    if (open_all(t, e) < 0) {
        trainer_destroy(t);
        return NULL;
    }
    return t;
}

void trainer_destroy(struct trainer *t)
{
    if (!t)
        return;
    struct device *d = t->device;
    d->ops->release(d, t->training.order);
    d->ops->release(d, t->training.moves);
    d->ops->release(d, t->validation.order);
    for (int i = 0; i < 2; i++) {
        d->ops->detach(d, t->attached[i].x);
        d->ops->detach(d, t->attached[i].y);
    }
    d->ops->detach(d, t->mean);
    d->ops->detach(d, t->scale);
    step_close(t);
    d->ops->release(d, t->totals);
    exchange_close(t->exchange);
    free(t->shuffled);
    free(t->moves);
    free(t);
}

size_t trainer_micro_batches(const struct trainer *t)
{
    return t->micro_batches;
}

/* ---- an epoch ---- */

int trainer_replicate(struct device *d, struct comm *c, float *x, size_t n, struct err *e)
{
    if (comm_size(c) == 1 || n == 0)
        return 0;
    float *host = mem_resize(NULL, n, sizeof(*host));
    int rc = d->ops->download(d, host, x, n * sizeof(*host), e);

    rc = comm_agree(c, rc, e);
    if (rc == 0) {
        comm_broadcast(c, 0, host, n * sizeof(*host));
        d->ops->upload(d, x, host, n * sizeof(*host));
    }
    free(host);
    return rc;
}

/* Brings what a stage has of an array to rank 0, which has its own. */
static void gather_range(const struct trainer *t, int rank, float *x, size_t from,
                         size_t to)
{
    int own = comm_rank(t->config.comm);

    if (to > from && own == rank)
        exchange_send(t->exchange, 0, x + from, to - from);
    else if (to > from && own == 0)
        exchange_receive(t->exchange, rank, x + from, to - from);
    exchange_sent(t->exchange);
}

/* Brings all that training changes to rank 0, which saves it. */
static void gather_stages(struct trainer *t)
{
    struct comm *c = t->config.comm;
    struct model *m = t->model;

    for (int r = 1; r < comm_size(c); r++) {
        const struct stage *s = &t->stages[r];
        gather_range(t, r, m->values, s->from, s->to);
        gather_range(t, r, m->state, s->state_from, s->state_to);
        for (int i = 0; i < t->optimizer->n_slots; i++)
            gather_range(t, r, t->optimizer->slots[i], s->from, s->to);
    }
}

/* The totals of all ranks. */
static int totals_take(struct trainer *t, struct device_totals *totals, struct err *e)
{
    struct comm *c = t->config.comm;
    int rc = t->device->ops->download(t->device, totals, t->totals, sizeof(*totals), e);
    double sums[] = {totals->loss, totals->correct};

    rc = exchange_agree(t->exchange, rc, e);
    if (rc < 0)
        return rc;
    comm_sum(c, sums, 2);
    *totals = (struct device_totals){sums[0], sums[1]};
    return 0;
}

static void totals_reset(struct trainer *t)
{
    static const struct device_totals zero;
    t->device->ops->upload(t->device, t->totals, &zero, sizeof(zero));
}

/* Counted by epochs, not by the optimiser's updates: after a change of the batch size the
 * schedule is where the training is. */
static int64_t steps_before(const struct trainer *t, uint32_t epoch, size_t start)
{
    size_t batch = t->config.batch_size;

    return trainer_steps(t->training.part->n, batch) * (epoch - 1) +
           (int64_t)(start / batch);
}

/* Draws the order of an epoch's samples and, with augmentation, how each is moved. */
static void draw_epoch(struct trainer *t, uint32_t epoch)
{
    const struct trainer_config *c = &t->config;
    struct device *d = t->device;
    struct feed *f = &t->training;
    size_t n = f->part->n;

    memcpy(t->shuffled, f->part->index, n * sizeof(*t->shuffled));
    draw_shuffle(c->seed, DRAW_ORDER, epoch, t->shuffled, n);
    d->ops->upload(d, f->order, t->shuffled, n * sizeof(*t->shuffled));
    if (!f->moves)
        return;
    for (size_t i = 0; i < n; i++)
        t->moves[i] = draw_move(c->seed, &c->augmentation, epoch, t->shuffled[i]);
    d->ops->upload(d, f->moves, t->moves, n * sizeof(*t->moves));
}

/* With a scaled loss, gradients are what they would be without, or overflow: then there
 * is no step. What is agreed on does not fail: download() will say it. */
static bool is_to_step(struct trainer *t)
{
    const struct optimizer *o = t->optimizer;
    struct loss_scale *s = t->config.loss_scale;
    bool finite = true;

    if (!s || !loss_scale_used(s))
        return true;
    t->device->ops->unscale(t->device, (float)(1 / s->factor), o->to - o->from,
                            t->model->gradients + o->from, &finite, NULL);
    double overflows = finite ? 0 : 1;
    if (t->config.staged)
        comm_sum(t->config.comm, &overflows, 1);
    loss_scale_step(s, overflows == 0);
    return overflows == 0;
}

static int train(struct trainer *t, uint32_t epoch, trainer_tick *tick, void *arg,
                 struct device_totals *totals, struct err *e)
{
    struct feed *f = &t->training;
    size_t total = f->part->n;

    draw_epoch(t, epoch);
    totals_reset(t);
    for (size_t start = 0; start < total;) {
        size_t n = rows_left(f, start, t->config.batch_size);
        t->step = steps_before(t, epoch, start);
        step_train(t, f, start, n);
        t->optimizer->lr =
            t->optimizer->config.lr * schedule_share(&t->config.schedule, t->step);
        if (is_to_step(t))
            optimizer_step(t->optimizer, t->model->values, t->model->gradients);
        start += n;
        if (tick)
            tick(arg, start, total);
    }
    return totals_take(t, totals, e);
}

static int validate(struct trainer *t, struct device_totals *totals, struct err *e)
{
    totals_reset(t);
    step_validate(t, &t->validation);
    return totals_take(t, totals, e);
}

int trainer_epoch(struct trainer *t, uint32_t epoch, trainer_tick *tick, void *arg,
                  struct metrics *metrics, struct err *e)
{
    double begun = clock_mono(), n = (double)t->data->training.n,
           n_val = (double)t->data->validation.n;
    struct device_totals training = {0, 0}, validation = {0, 0};
    int rc = train(t, epoch, tick, arg, &training, e);

    if (rc < 0)
        return rc;
    double trained = clock_mono();
    if (t->config.staged)
        gather_stages(t);
    else /* each rank has the running statistics of what it saw: those of rank 0 hold */
        rc = trainer_replicate(t->device, t->config.comm, t->model->state,
                               t->model->n_state, e);
    if (rc == 0)
        rc = validate(t, &validation, e);
    if (rc < 0)
        return rc;
    struct device_usage gpu = {NAN, NAN, NAN, NAN};
    if (t->device->ops->usage)
        t->device->ops->usage(t->device, &gpu);
    double seconds = clock_mono() - begun;
    *metrics = (struct metrics){{
        [METRIC_LOSS] = training.loss / n,
        [METRIC_ACCURACY] = training.correct / n,
        [METRIC_VAL_LOSS] = validation.loss / n_val,
        [METRIC_VAL_ACCURACY] = validation.correct / n_val,
        [METRIC_SAMPLES_PER_SECOND] = n / (trained - begun),
        [METRIC_EPOCH_SECONDS] = seconds,
        [METRIC_HOST_RSS] = proc_resident(),
        [METRIC_GPU_UTIL] = gpu.util,
        [METRIC_GPU_MEM_USED] = gpu.mem_used,
        [METRIC_GPU_MEM_PEAK] = gpu.mem_peak,
        [METRIC_GPU_POWER] = gpu.power,
        [METRIC_GPU_SECONDS] =
            t->device->ops->on_host ? NAN : seconds * comm_size(t->config.comm),
    }};
    return 0;
}
