#include "worker/train/trainer.h"

#include "base/clock.h"
#include "base/mem.h"
#include "worker/train/draw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALIDATION_ROWS 512 /* at most, where batches have fewer */

/* Sizes of what is summed over the ranks at once: the first small, so that it starts
 * early in backward (Li et al. 2020, "PyTorch Distributed", section 3.2). */
#define FIRST_BUCKET ((size_t)1 << 20)
#define BUCKET       ((size_t)25 << 20)

#define METRIC_NAME_(id, name) #name,
const char *const metric_names[METRICS] = {METRIC_MAP(METRIC_NAME_)};
#undef METRIC_NAME_

/* Samples and labels, of the data's train and test, on the device. */
struct attached {
    const void *x, *y;
};

/* A part as the device sees it. */
struct feed {
    const struct part *part;
    struct device_gather gather; /* its index is set for each batch */
    const int32_t *labels;
    uint32_t *order;           /* [part->n] */
    struct device_move *moves; /* [part->n], of the samples in this order; NULL: none */
};

struct trainer {
    struct device *device;
    struct data *data;
    struct model *model;
    struct optimizer *optimizer;
    struct trainer_config config;
    struct attached attached[2]; /* train, test */
    struct feed training, validation;
    const void *mean, *scale;
    /* [training.part->n], before they go to the device; without augmentation no moves. */
    uint32_t *shuffled;
    struct device_move *moves;
    struct pass *pass;
    float *x; /* [pass_rows()][features], the batch at hand */
    struct device_totals *totals;
    /* Of this step's gradients, those from `reduced` on are being summed over the ranks.
     */
    size_t reduced, bucket;
    int64_t step; /* optimiser steps before this one, over the whole training */
};

int64_t trainer_steps(size_t samples, size_t batch_size)
{
    return (int64_t)((samples + batch_size - 1) / batch_size);
}

/* ---- what the device holds ---- */

static int attach_samples(struct device *d, const struct samples *s, struct attached *a,
                          struct err *e)
{
    size_t sample = s->features * (s->type == SAMPLE_U8 ? 1 : sizeof(float));
    int rc = 0;

    if (s->n)
        rc = d->ops->attach(d, s->x, (s->n - 1) * s->stride + sample, &a->x, e);
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

static int open_all(struct trainer *t, struct err *e)
{
    struct device *d = t->device;
    size_t features = t->data->train.features;
    void *x, *totals;
    size_t ranks = (size_t)comm_size(t->config.comm);
    const struct pass_config pass = {0, t->model->n_layers,
                                     (t->config.batch_size + ranks - 1) / ranks,
                                     VALIDATION_ROWS};
    int rc = attach_samples(d, &t->data->train, &t->attached[0], e);

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
    if (rc == 0 && !(t->pass = pass_create(t->model, &pass, e)))
        rc = ERR_FULL; /* e may say another: it is negative */
    if (rc == 0)
        rc = d->ops->allocate(d, pass_rows(t->pass) * features * sizeof(float), &x, e);
    if (rc < 0)
        return rc;
    t->x = x;
    rc = d->ops->allocate(d, sizeof(*t->totals), &totals, e);
    if (rc == 0)
        t->totals = totals;
    return rc;
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
    pass_destroy(t->pass);
    d->ops->release(d, t->x);
    d->ops->release(d, t->totals);
    free(t->shuffled);
    free(t->moves);
    free(t);
}

/* ---- an epoch ---- */

/* Samples of a part, by their places in its order. */
struct rows {
    size_t start, n;
};

/* This rank's part of some samples, which all ranks take together: they are cut into as
 * many pieces, one behind the other, none longer by more than one. Rank 0 has a part of
 * any: its running statistics are everyone's. */
static struct rows share_of(const struct comm *c, size_t start, size_t n)
{
    size_t rank = (size_t)comm_rank(c), size = (size_t)comm_size(c);
    size_t begin = (n * rank + size - 1) / size, end = (n * (rank + 1) + size - 1) / size;

    return (struct rows){start + begin, end - begin};
}

/* Runs the model on rows of f. In training they are all of a batch or a part of it, and
 * their part of the gradient of the batch's mean loss goes upstream, with labels
 * smoothed; `batch` 0: in validation. */
static void forward(struct trainer *t, struct feed *f, struct rows rows, size_t batch)
{
    struct device *d = t->device;
    bool training = batch > 0;

    f->gather.index = f->order + rows.start;
    f->gather.moves = f->moves ? f->moves + rows.start : NULL;
    d->ops->gather(d, &f->gather, rows.n, t->x);
    const float *logits =
        pass_forward(t->pass, &(struct batch){
                                  .rows = rows.n,
                                  .x = t->x,
                                  .training = training,
                                  .seed = t->config.seed,
                                  .step = t->step,
                                  .row = rows.start % t->config.batch_size,
                              });
    d->ops->softmax_loss(d, rows.n, t->data->classes, logits, f->labels, f->gather.index,
                         training ? (float)t->config.label_smoothing : 0, batch,
                         training ? pass_upstream(t->pass) : NULL, t->totals);
}

/* Begins to sum the gradients from `from` on over the ranks, all that was not yet. */
static void reduce_from(struct trainer *t, size_t from)
{
    comm_reduce(t->config.comm, t->model->gradients + from, t->reduced - from);
    t->reduced = from;
    t->bucket = BUCKET / sizeof(float);
}

/* Backward goes from the last parameters to the first: those of this layer and of all
 * behind it have their gradients. */
static void layer_done(void *arg, size_t layer)
{
    struct trainer *t = arg;
    const struct layer *l = &t->model->layers[layer];

    if (l->n_parameters) {
        size_t ready = l->parameters[0].offset;
        while (t->reduced - ready >= t->bucket)
            reduce_from(t, t->reduced - t->bucket);
    }
    comm_progress(t->config.comm);
}

/* Sets the gradients of the batch's mean loss, on all ranks. */
static void backward(struct trainer *t, size_t rows)
{
    struct model *m = t->model;

    t->reduced = m->n;
    t->bucket = FIRST_BUCKET / sizeof(float);
    if (rows) {
        pass_backward(t->pass, NULL, layer_done, t);
    } else { /* the last batch of an epoch has fewer samples than there are ranks */
        float *zeros = mem_alloc(m->n * sizeof(*zeros));
        t->device->ops->upload(t->device, m->gradients, zeros, m->n * sizeof(*zeros));
        free(zeros);
    }
    while (t->reduced >= t->bucket)
        reduce_from(t, t->reduced - t->bucket);
    reduce_from(t, 0);
    comm_reduce_wait(t->config.comm);
}

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

static size_t rows_left(const struct feed *f, size_t start, size_t most)
{
    size_t left = f->part->n - start;
    return left < most ? left : most;
}

/* The totals of all ranks. */
static int totals_take(struct trainer *t, struct device_totals *totals, struct err *e)
{
    struct comm *c = t->config.comm;
    int rc = t->device->ops->download(t->device, totals, t->totals, sizeof(*totals), e);
    double sums[] = {totals->loss, totals->correct};

    rc = comm_agree(c, rc, e);
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

static int train(struct trainer *t, uint32_t epoch, trainer_tick *tick, void *arg,
                 struct device_totals *totals, struct err *e)
{
    struct feed *f = &t->training;
    size_t total = f->part->n;

    draw_epoch(t, epoch);
    totals_reset(t);
    for (size_t start = 0; start < total;) {
        size_t n = rows_left(f, start, t->config.batch_size);
        struct rows rows = share_of(t->config.comm, start, n);
        t->step = steps_before(t, epoch, start);
        if (rows.n)
            forward(t, f, rows, n);
        backward(t, rows.n);
        t->optimizer->lr =
            t->optimizer->config.lr * schedule_share(&t->config.schedule, t->step);
        optimizer_step(t->optimizer, t->model->values, t->model->gradients);
        start += n;
        if (tick)
            tick(arg, start, total);
    }
    return totals_take(t, totals, e);
}

static int validate(struct trainer *t, struct device_totals *totals, struct err *e)
{
    struct feed *f = &t->validation;
    struct rows left = share_of(t->config.comm, 0, f->part->n);
    size_t most = pass_rows(t->pass);

    totals_reset(t);
    while (left.n) {
        size_t n = left.n < most ? left.n : most;
        forward(t, f, (struct rows){left.start, n}, 0);
        left.start += n;
        left.n -= n;
    }
    return totals_take(t, totals, e);
}

/* NaN where there is no /proc. */
static double resident_bytes(void)
{
    long all, resident;
    FILE *file = fopen("/proc/self/statm", "re");
    bool read = file && fscanf(file, "%ld %ld", &all, &resident) == 2;

    if (file)
        fclose(file);
    return read ? (double)resident * (double)sysconf(_SC_PAGESIZE) : NAN;
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
    /* Each rank has the running statistics of what it saw: those of rank 0 hold. */
    rc = trainer_replicate(t->device, t->config.comm, t->model->state, t->model->n_state,
                           e);
    if (rc == 0)
        rc = validate(t, &validation, e);
    if (rc < 0)
        return rc;
    *metrics = (struct metrics){{
        [METRIC_LOSS] = training.loss / n,
        [METRIC_ACCURACY] = training.correct / n,
        [METRIC_VAL_LOSS] = validation.loss / n_val,
        [METRIC_VAL_ACCURACY] = validation.correct / n_val,
        [METRIC_SAMPLES_PER_SECOND] = n / (trained - begun),
        [METRIC_EPOCH_SECONDS] = clock_mono() - begun,
        [METRIC_HOST_RSS] = resident_bytes(),
    }};
    return 0;
}
