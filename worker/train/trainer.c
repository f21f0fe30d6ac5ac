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
    const struct pass_config pass = {0, t->model->n_layers, t->config.batch_size,
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

/* Runs the model on the n samples of f from `start`; in training the gradient of their
 * mean loss goes upstream, with labels smoothed. */
static void forward(struct trainer *t, struct feed *f, size_t start, size_t n,
                    bool training)
{
    struct device *d = t->device;

    f->gather.index = f->order + start;
    f->gather.moves = f->moves ? f->moves + start : NULL;
    d->ops->gather(d, &f->gather, n, t->x);
    const float *logits = pass_forward(
        t->pass, &(struct batch){.rows = n, .x = t->x, .training = training});
    d->ops->softmax_loss(d, n, t->data->classes, logits, f->labels, f->gather.index,
                         training ? (float)t->config.label_smoothing : 0,
                         training ? pass_upstream(t->pass) : NULL, t->totals);
}

static size_t rows_left(const struct feed *f, size_t start, size_t most)
{
    size_t left = f->part->n - start;
    return left < most ? left : most;
}

static int totals_take(struct trainer *t, struct device_totals *totals, struct err *e)
{
    return t->device->ops->download(t->device, totals, t->totals, sizeof(*totals), e);
}

static void totals_reset(struct trainer *t)
{
    static const struct device_totals zero;
    t->device->ops->upload(t->device, t->totals, &zero, sizeof(zero));
}

/* Counted by epochs, not by the optimiser's updates: after a change of the batch size the
 * schedule is where the training is. */
static double learning_rate(const struct trainer *t, uint32_t epoch, size_t start)
{
    size_t batch = t->config.batch_size;
    int64_t step = trainer_steps(t->training.part->n, batch) * (epoch - 1) +
                   (int64_t)(start / batch);

    return t->optimizer->config.lr * schedule_share(&t->config.schedule, step);
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
        forward(t, f, start, n, true);
        pass_backward(t->pass, NULL, NULL, NULL);
        t->optimizer->lr = learning_rate(t, epoch, start);
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

    totals_reset(t);
    for (size_t start = 0; start < f->part->n;) {
        size_t n = rows_left(f, start, pass_rows(t->pass));
        forward(t, f, start, n, false);
        start += n;
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
    struct device_totals training, validation;
    int rc = train(t, epoch, tick, arg, &training, e);

    if (rc < 0)
        return rc;
    double trained = clock_mono();
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
