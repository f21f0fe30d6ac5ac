/* How the samples of a step go through the layers.
 *
 * A rank has a stage of the model: all of it, with its share of every batch, or some
 * layers, with all of it. What it has to do it does in micro-batches, whose gradients it
 * adds in their order. A stage with n stages behind it is n micro-batches ahead of the
 * first gradient that comes back (one forward, one backward: Narayanan et al. 2019,
 * "PipeDream", as flushed each step in Narayanan et al. 2021), so that it holds n + 1 at
 * once; alone it holds one. The additions are the same for any number of stages. */
#include "worker/train/trainer_private.h"

#include "base/mem.h"

#include <stdlib.h>

#define VALIDATION_ROWS 512 /* at most, where batches have fewer */

/* With so many a stage, each is idle for less than a fifth of the time. */
#define MICRO_BATCHES_A_STAGE 4

/* On the host small batches are gathered together, up to so many numbers, where they lie
 * one behind the other: waking the thread that gathers can take a third of the time it
 * gathers. */
#define GATHERED ((size_t)1 << 19)

/* Bytes of what is summed over the ranks at once: the first few, so that it starts early
 * in backward, then more (Li et al. 2020, "PyTorch Distributed", section 3.2), but no
 * more than half of what is left, since nothing hides what is begun after backward. */
#define FIRST_BUCKET ((size_t)1 << 20)
#define BUCKET       ((size_t)25 << 20)

static bool is_first(const struct trainer *t)
{
    return t->stage == 0;
}

static bool is_last(const struct trainer *t)
{
    return t->stage + 1 == t->n_stages;
}

static size_t features_in(const struct trainer *t)
{
    return t->model->layers[t->stages[t->stage].first].in;
}

static size_t features_out(const struct trainer *t)
{
    return t->model->layers[t->stages[t->stage].last - 1].out;
}

/* Activations as what can be sent: so many floats' room. */
static size_t floats_of(const struct trainer *t, size_t n)
{
    return (n * t->device->width + sizeof(float) - 1) / sizeof(float);
}

/* Piece i of k pieces of some rows, one behind the other, none longer by more than one
 * and the first no shorter than any. */
static struct rows piece(struct rows all, size_t i, size_t k)
{
    size_t begin = (all.n * i + k - 1) / k, end = (all.n * (i + 1) + k - 1) / k;

    return (struct rows){all.start + begin, end - begin};
}

/* What this rank has of some samples, which all ranks take together. Rank 0 has a part of
 * any: its running statistics are everyone's. */
static struct rows share_of(const struct trainer *t, size_t start, size_t n)
{
    const struct comm *c = t->config.comm;
    struct rows all = {start, n};

    return t->config.staged ? all
                            : piece(all, (size_t)comm_rank(c), (size_t)comm_size(c));
}

/* ---- room ---- */

static int open_stages(struct trainer *t, struct err *e)
{
    t->n_stages = t->config.staged ? (size_t)comm_size(t->config.comm) : 1;
    t->stage = t->config.staged ? (size_t)comm_rank(t->config.comm) : 0;
    t->stages = mem_resize(NULL, t->n_stages, sizeof(*t->stages));
    return stages_cut(t->model, t->n_stages, t->stages, e);
}

static size_t lanes_of(const struct trainer *t)
{
    size_t n = t->n_stages - t->stage;

    return n < t->micro_batches ? n : t->micro_batches;
}

static void close_lanes(struct trainer *t)
{
    struct device *d = t->device;

    for (size_t i = 0; i < t->n_lanes; i++) {
        pass_destroy(t->lanes[i].pass);
        d->ops->release(d, t->lanes[i].room);
    }
    loader_close(&t->training.loader);
    loader_close(&t->validation.loader);
    free(t->lanes);
    d->ops->release(d, t->dx);
    d->ops->release(d, t->partial);
    t->lanes = NULL;
    t->n_lanes = 0;
    t->dx = t->partial = NULL;
}

static int open_floats(struct trainer *t, size_t n, void **to, struct err *e)
{
    return t->device->ops->allocate(t->device, n * sizeof(float), to, e);
}

/* The first lane is the one of evaluation, too. */
static int open_lane(struct trainer *t, size_t i, size_t rows, size_t validation_rows,
                     struct err *e)
{
    const struct stage *s = &t->stages[t->stage];
    const struct pass_config c = {s->first, s->last, rows, i ? 0 : validation_rows};
    struct lane *l = &t->lanes[i];

    l->pass = pass_create(t->model, &c, e);
    if (!l->pass)
        return e->code;
    return is_first(t) ? 0
                       : open_floats(t, floats_of(t, pass_rows(l->pass) * features_in(t)),
                                     &l->room, e);
}

/* Whether what this rank trains on next comes next in the order, batch after batch. */
static bool in_one_row(const struct trainer *t)
{
    return t->micro_batches == 1 && (t->config.staged || comm_size(t->config.comm) == 1);
}

/* A lane keeps its samples until backward; the next are gathered meanwhile. */
static int open_loaders(struct trainer *t, size_t rows, struct err *e)
{
    size_t features = features_in(t), most = pass_rows(t->lanes[0].pass);
    size_t batches =
        t->device->ops->on_host && in_one_row(t) ? GATHERED / (rows * features) : 0;
    int rc = loader_open(&t->training.loader, t->device, t->n_lanes + 1,
                         batches ? batches * rows : rows, features, e);

    return rc < 0 ? rc
                  : loader_open(&t->validation.loader, t->device, 2, most, features, e);
}

static int open_lanes(struct trainer *t, size_t rows, size_t validation_rows,
                      struct err *e)
{
    void *partial = NULL;
    int rc = 0;

    t->n_lanes = lanes_of(t);
    t->lanes = mem_alloc(t->n_lanes * sizeof(*t->lanes));
    for (size_t i = 0; i < t->n_lanes && rc == 0; i++)
        rc = open_lane(t, i, rows, validation_rows, e);
    if (rc == 0)
        rc = is_first(t) ? open_loaders(t, rows, e)
                         : open_floats(t, floats_of(t, rows * features_in(t)), &t->dx, e);
    if (rc == 0 && t->micro_batches > 1)
        rc = open_floats(t, t->model->n, &partial, e);
    t->partial = partial;
    return rc;
}

/* The least of what the ranks have. */
static size_t least(struct comm *c, size_t mine)
{
    size_t all = mine;

    for (int r = 0; r < comm_size(c); r++) {
        size_t other = mine;
        comm_broadcast(c, r, &other, sizeof(other));
        all = other < all ? other : all;
    }
    return all;
}

/* Runs the largest batches, of zeros, through the model and back, on a device whose
 * operations need memory while they run: so that it is there, or is found missing now.
 * What training changes is put back. ERR_FULL; other failures are download()'s, later. */
static int rehearse(struct trainer *t, size_t rows, struct err *e)
{
    struct device *d = t->device;
    struct model *m = t->model;
    struct pass *p = t->lanes[0].pass;
    bool first = is_first(t);
    void *x = first ? t->training.loader.x[0] : t->lanes[0].room;
    size_t bytes = m->n_state * sizeof(*m->state);
    float *state = mem_alloc(bytes);
    int rc = d->ops->download(d, state, m->state, bytes, e);

    const void *y = pass_forward(p, &(struct batch){rows, x, true, 0, 0, 0});
    if (is_last(t))
        d->ops->softmax_loss(d, rows, t->data->classes, y, t->training.labels,
                             t->training.order, 0, 0, pass_upstream(p), t->totals);
    pass_backward(p, m->gradients, t->dx, NULL, NULL);
    pass_forward(p, &(struct batch){pass_rows(p), first ? t->validation.loader.x[0] : x,
                                    false, 0, 0, 0});
    if (rc == 0)
        rc = d->ops->download(d, state, m->state, 0, e);
    if (rc == ERR_FULL)
        d->ops->recover(d);
    d->ops->upload(d, m->state, state, bytes);
    free(state);
    return rc;
}

/* Makes room, for all ranks alike, in more and smaller micro-batches until there is; then
 * they are as small in evaluation. */
static int fit_lanes(struct trainer *t, size_t most, struct err *e)
{
    for (size_t validation_rows = VALIDATION_ROWS;; validation_rows = 0) {
        if (t->micro_batches > most)
            t->micro_batches = most;
        size_t rows = (most + t->micro_batches - 1) / t->micro_batches;
        int rc = open_lanes(t, rows, validation_rows, e);
        if (rc == 0 && t->device->ops->recover)
            rc = rehearse(t, rows, e);
        rc = comm_agree(t->config.comm, rc, e);
        if (rc != ERR_FULL || rows == 1)
            return rc;
        close_lanes(t);
        t->micro_batches *= 2;
        if (t->config.notes)
            str_addf(t->config.notes, "%s for %zu samples at once: trying fewer\n",
                     e->text, rows);
    }
}

int step_open(struct trainer *t, struct err *e)
{
    struct comm *c = t->config.comm;
    struct err why;
    size_t ranks = (size_t)comm_size(c), batch = t->config.batch_size;
    int rc = comm_agree(c, open_stages(t, &why), &why);

    t->micro_batches = t->config.micro_batches;
    if (t->micro_batches == 0)
        t->micro_batches = t->n_stages > 1 ? MICRO_BATCHES_A_STAGE * t->n_stages : 1;
    if (rc == 0)
        rc = fit_lanes(t, t->config.staged ? batch : (batch + ranks - 1) / ranks, &why);
    if (rc < 0)
        return err_set(e, rc, "%s", why.text);
    t->most_rows = least(c, pass_rows(t->lanes[0].pass));
    t->optimizer->from = t->stages[t->stage].from;
    t->optimizer->to = t->stages[t->stage].to;
    return 0;
}

void step_close(struct trainer *t)
{
    close_lanes(t);
    free(t->stages);
}

/* ---- forward ---- */

/* Of the loss of each of so many samples, in what gradients are of. */
static float share(const struct trainer *t, size_t batch)
{
    const struct loss_scale *s = t->config.loss_scale;
    float weight = t->config.staged ? 1 : exchange_weight(t->exchange);

    return (s ? (float)s->factor : 1) * weight / (float)batch;
}

/* Rows on their way, behind which `rest` come next: `batch` samples are trained on
 * together, 0 in evaluation. */
static void forward(struct trainer *t, struct feed *f, struct lane *l, struct rows rows,
                    struct rows rest, size_t batch)
{
    struct device *d = t->device;
    bool training = batch > 0;
    const void *x = l->room;

    if (is_first(t))
        x = loader_take(&f->loader, f, rows, rest);
    else
        exchange_receive(t->exchange, (int)t->stage - 1, l->room,
                         floats_of(t, rows.n * features_in(t)));
    if (!training)
        exchange_sent(t->exchange); /* what was sent last lies where the next goes */
    const void *y = pass_forward(l->pass, &(struct batch){
                                              .rows = rows.n,
                                              .x = x,
                                              .training = training,
                                              .seed = t->config.seed,
                                              .step = t->step,
                                              .row = rows.start % t->config.batch_size,
                                          });
    if (!is_last(t))
        exchange_send(t->exchange, (int)t->stage + 1, y,
                      floats_of(t, rows.n * features_out(t)));
    else /* their part of the gradient of the batch's mean loss, with labels smoothed */
        d->ops->softmax_loss(d, rows.n, t->data->classes, y, f->labels,
                             f->order + rows.start,
                             training ? (float)t->config.label_smoothing : 0,
                             training ? share(t, batch) : 0,
                             training ? pass_upstream(l->pass) : NULL, t->totals);
}

/* ---- backward ---- */

/* Floats of the next bucket, where so many are left. */
static size_t next_bucket(size_t left)
{
    size_t least = FIRST_BUCKET / sizeof(float), most = BUCKET / sizeof(float);
    size_t half = left / 2;

    return half > most ? most : half > least ? half : least;
}

/* Begins to sum the gradients from `from` on over the ranks, all that was not yet. */
static void reduce_from(struct trainer *t, size_t from)
{
    exchange_reduce(t->exchange, from, t->reduced);
    t->reduced = from;
    t->bucket = next_bucket(from);
}

/* Those from `ready` on have their gradients of this micro-batch. */
static void gradients_ready(struct trainer *t, size_t ready)
{
    float *g = t->model->gradients;

    if (t->adding)
        t->device->ops->accumulate(t->device, t->added - ready, g + ready,
                                   t->partial + ready);
    t->added = ready;
    while (t->reducing && t->reduced - ready >= t->bucket)
        reduce_from(t, t->reduced - t->bucket);
}

/* Backward goes from the last parameters to the first: those of this layer and of all
 * behind it have their gradients. */
static void layer_done(void *arg, size_t layer)
{
    struct trainer *t = arg;
    const struct layer *l = &t->model->layers[layer];

    if (l->n_parameters)
        gradients_ready(t, l->parameters[0].offset);
    if (t->reducing)
        exchange_progress(t->exchange);
}

/* Of micro-batch i of n. */
static void backward(struct trainer *t, struct lane *l, size_t rows, size_t i, size_t n)
{
    t->adding = i > 0;
    t->added = t->stages[t->stage].to;
    t->reducing = i + 1 == n && !t->config.staged;
    if (!is_last(t))
        exchange_receive(t->exchange, (int)t->stage + 1, pass_upstream(l->pass),
                         floats_of(t, rows * features_out(t)));
    if (!is_first(t))
        exchange_sent(t->exchange); /* as above */
    pass_backward(l->pass, i ? t->partial : t->model->gradients, t->dx, layer_done, t);
    if (!is_first(t))
        exchange_send(t->exchange, (int)t->stage - 1, t->dx,
                      floats_of(t, rows * features_in(t)));
}

/* The last batch of an epoch has fewer samples than there are ranks. */
static void nothing_to_add(struct trainer *t)
{
    struct model *m = t->model;
    float *zeros = mem_alloc(m->n * sizeof(*zeros));

    t->device->ops->upload(t->device, m->gradients, zeros, m->n * sizeof(*zeros));
    free(zeros);
}

/* ---- both ---- */

static size_t count_pieces(const struct trainer *t, size_t n)
{
    return n < t->micro_batches ? n : t->micro_batches;
}

/* The first micro-batch of the batch that begins at `start`, and what lies in one row
 * with it; n 0: there is none. */
static struct rows rest_from(const struct trainer *t, const struct feed *f, size_t start)
{
    if (in_one_row(t))
        return (struct rows){start, f->part->n - start};
    struct rows all = share_of(t, start, rows_left(f, start, t->config.batch_size));
    return all.n ? piece(all, 0, count_pieces(t, all.n)) : all;
}

void step_train(struct trainer *t, struct feed *f, size_t start, size_t n)
{
    struct rows all = share_of(t, start, n), rest = rest_from(t, f, start + n);
    size_t pieces = count_pieces(t, all.n);
    size_t ahead = t->n_stages - 1 - t->stage;

    t->reduced = t->model->n;
    t->bucket = FIRST_BUCKET / sizeof(float);
    if (pieces == 0)
        nothing_to_add(t);
    for (size_t i = 0; pieces && i < pieces + ahead; i++) {
        if (i < pieces)
            forward(t, f, &t->lanes[i % t->n_lanes], piece(all, i, pieces),
                    i + 1 < pieces ? piece(all, i + 1, pieces) : rest, n);
        if (i < ahead)
            continue;
        size_t k = i - ahead;
        backward(t, &t->lanes[k % t->n_lanes], piece(all, k, pieces).n, k, pieces);
    }
    if (t->config.staged) {
        exchange_sent(t->exchange);
        return;
    }
    while (t->reduced >= t->bucket)
        reduce_from(t, t->reduced - t->bucket);
    reduce_from(t, 0);
    exchange_reduce_wait(t->exchange);
}

static struct rows head(struct rows all, size_t most)
{
    return (struct rows){all.start, all.n < most ? all.n : most};
}

void step_validate(struct trainer *t, struct feed *f)
{
    struct rows all = share_of(t, 0, f->part->n), now, next;

    for (now = head(all, t->most_rows); now.n; now = next) {
        all.start += now.n;
        all.n -= now.n;
        next = head(all, t->most_rows);
        forward(t, f, &t->lanes[0], now, next, 0);
    }
    exchange_sent(t->exchange);
}
