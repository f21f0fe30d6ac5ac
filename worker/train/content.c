#include "worker/train/content.h"

#include "base/mem.h"
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA 1

/* ---- arrays by parameter: /model/dense1/weight, /optimizer/dense1/weight/m ---- */

typedef int parameter_visit(struct tensors *t, const char *path,
                            const struct parameter *p, float *values, struct err *e);

/* Visits each parameter's piece of an array with the model's shape; slot may be NULL. */
static int each_parameter(struct tensors *t, const struct model *m, const char *group,
                          const char *slot, float *values, parameter_visit *visit,
                          struct err *e)
{
    struct str path = STR_INIT;
    int rc = 0;

    for (size_t i = 0; i < m->n_layers && rc == 0; i++) {
        const struct layer *l = &m->layers[i];
        for (int k = 0; k < l->n_parameters && rc == 0; k++) {
            const struct parameter *p = &l->parameters[k];
            str_cut(&path, 0);
            str_addf(&path, "/%s/%s/%s%s%s", group, l->name, p->name, slot ? "/" : "",
                     slot ? slot : "");
            rc = visit(t, path.p, p, values + p->offset, e);
        }
    }
    str_free(&path);
    return rc;
}

/* Visits all that a model is: its parameters, and its layers' states beside them. */
static int each_of_model(struct tensors *t, const struct model *m,
                         const struct content *c, parameter_visit *visit, struct err *e)
{
    struct str path = STR_INIT;
    int rc = each_parameter(t, m, "model", NULL, c->values, visit, e);

    for (size_t i = 0; i < m->n_layers && rc == 0; i++) {
        const struct layer *l = &m->layers[i];
        for (int k = 0; k < l->n_states && rc == 0; k++) {
            str_cut(&path, 0);
            str_addf(&path, "/model/%s/%s", l->name, l->states[k].name);
            rc = visit(t, path.p, &l->states[k], c->state + l->states[k].offset, e);
        }
    }
    str_free(&path);
    return rc;
}

static int put_parameter(struct tensors *t, const char *path, const struct parameter *p,
                         float *values, struct err *e)
{
    return tensors_put(t, path, TENSOR_F32, p->ndim, p->dim, values, e);
}

static int get_parameter(struct tensors *t, const char *path, const struct parameter *p,
                         float *values, struct err *e)
{
    return tensors_get(t, path, TENSOR_F32, p->count, values, e);
}

void content_free(struct content *c)
{
    free(c->mean);
    free(c->scale);
    free(c->values);
    free(c->state);
    for (int i = 0; i < OPTIMIZER_SLOTS; i++)
        free(c->slots[i]);
    vec_free(&c->history);
    *c = (struct content){0};
}

/* ---- copying ---- */

static float *reserve_array(size_t n)
{
    float *p = mem_huge(n * sizeof(*p));

    memset(p, 0, n * sizeof(*p)); /* pages come with the first write to them */
    return p;
}

void content_reserve(struct content *c, const struct training *tr)
{
    c->values = reserve_array(tr->model->n);
    c->state = reserve_array(tr->model->n_state);
    for (int i = 0; i < tr->optimizer->n_slots; i++)
        c->slots[i] = reserve_array(tr->model->n);
}

static int copy_array(float **to, struct device *d, const float *from, size_t n,
                      struct err *e)
{
    if (!*to)
        *to = mem_huge(n * sizeof(**to));
    return d->ops->download(d, *to, from, n * sizeof(**to), e);
}

static void copy_input(float **to, const float *from, size_t n)
{
    if (!*to)
        *to = mem_resize(NULL, n, sizeof(**to));
    memcpy(*to, from, n * sizeof(**to));
}

int content_copy(struct content *c, const struct training *tr, struct err *e)
{
    const struct optimizer *o = tr->optimizer;
    const struct model *m = tr->model;
    int rc = copy_array(&c->values, m->device, m->values, m->n, e);

    if (rc == 0)
        rc = copy_array(&c->state, m->device, m->state, m->n_state, e);
    for (int i = 0; i < o->n_slots && rc == 0; i++)
        rc = copy_array(&c->slots[i], m->device, o->slots[i], m->n, e);
    if (rc < 0)
        return rc;
    copy_input(&c->mean, tr->data->mean, tr->data->train.features);
    copy_input(&c->scale, tr->data->scale, tr->data->train.features);
    c->updates = o->updates;
    c->n_slots = o->n_slots;
    c->progress = tr->progress;
    for (size_t i = c->history.n; i < tr->history.n; i++)
        vec_push(&c->history, tr->history.v[i]);
    return 0;
}

/* ---- writing ---- */

static int put_settings(struct tensors *t, const struct training *tr, struct err *e)
{
    struct str layers = STR_INIT;
    int rc;

    model_describe(tr->model, &layers);
    rc = tensors_put_int(t, "/", "schema", SCHEMA, e);
    if (rc == 0)
        rc = tensors_put_text(t, "/", "rung_version", PACKAGE_VERSION, e);
    if (rc == 0)
        rc = tensors_put_text(t, "/", "model", tr->model_kind, e);
    if (rc == 0)
        rc = tensors_put_text(t, "/", "layers", layers.p, e);
    for (size_t i = 0; i < tr->n_settings && rc == 0; i++) {
        const struct setting *s = &tr->settings[i];
        if (s->type == SETTING_INT)
            rc = tensors_put_int(t, "/", s->name, s->i, e);
        else if (s->type == SETTING_NUM)
            rc = tensors_put_num(t, "/", s->name, s->r, e);
        else
            rc = tensors_put_text(t, "/", s->name, s->text, e);
    }
    str_free(&layers);
    return rc;
}

static int put_input(struct tensors *t, const struct content *c, size_t features,
                     struct err *e)
{
    int rc = tensors_put(t, "/input/mean", TENSOR_F32, 1, &features, c->mean, e);

    return rc < 0 ? rc
                  : tensors_put(t, "/input/scale", TENSOR_F32, 1, &features, c->scale, e);
}

static int put_optimizer(struct tensors *t, const struct content *c,
                         const struct training *tr, struct err *e)
{
    const struct optimizer *o = tr->optimizer;
    int rc = tensors_put_text(t, "/optimizer", "kind", o->config.kind, e);

    if (rc == 0)
        rc = tensors_put_int(t, "/optimizer", "updates", c->updates, e);
    if (rc == 0)
        rc = tensors_put_int(t, "/optimizer", "slots", c->n_slots, e);
    for (int i = 0; i < c->n_slots && rc == 0; i++)
        rc = each_parameter(t, tr->model, "optimizer", optimizer_slot(o, i), c->slots[i],
                            put_parameter, e);
    return rc;
}

static int put_progress(struct tensors *t, const struct progress *p, uint64_t seed,
                        struct err *e)
{
    char text[24];
    int rc = tensors_put_int(t, "/progress", "step", p->step, e);

    snprintf(text, sizeof(text), "%" PRIu64, seed);
    if (rc == 0)
        rc = tensors_put_int(t, "/progress", "epoch", p->epoch, e);
    if (rc == 0)
        rc = tensors_put_int(t, "/progress", "samples", p->samples, e);
    if (rc == 0)
        rc = tensors_put_num(t, "/progress", "loss_scale", p->loss.factor, e);
    if (rc == 0)
        rc = tensors_put_int(t, "/progress", "loss_scale_steps", p->loss.since, e);
    if (rc == 0)
        rc = tensors_put_int(t, "/progress", "skipped", p->loss.skipped, e);
    if (rc == 0)
        rc = tensors_put_int(t, "/progress", "planned", p->planned, e);
    if (rc == 0)
        rc = tensors_put_text(t, "/rng", "generator", "philox4x32-10", e);
    if (rc == 0)
        rc = tensors_put_text(t, "/rng", "seed", text, e);
    return rc;
}

/* The history as columns over two new arrays; free() both. */
static void history_columns(size_t rows, struct tensor_column columns[METRICS + 1],
                            int32_t **steps, double **values)
{
    *steps = mem_resize(NULL, rows, sizeof(**steps));
    *values = mem_resize(NULL, rows, METRICS * sizeof(**values));
    columns[0] = (struct tensor_column){"step", TENSOR_I32, *steps};
    for (size_t m = 0; m < METRICS; m++)
        columns[m + 1] =
            (struct tensor_column){metric_names[m], TENSOR_F64, *values + m * rows};
}

static int put_history(struct tensors *t, const struct content *c, struct err *e)
{
    struct tensor_column columns[METRICS + 1];
    size_t rows = c->history.n;
    int32_t *steps;
    double *values;
    int rc;

    history_columns(rows, columns, &steps, &values);
    for (size_t r = 0; r < rows; r++) {
        steps[r] = c->history.v[r].step;
        for (size_t m = 0; m < METRICS; m++)
            values[m * rows + r] = c->history.v[r].metrics.v[m];
    }
    rc = tensors_put_table(t, "/metrics", rows, METRICS + 1, columns, e);
    free(steps);
    free(values);
    return rc;
}

int content_put(const struct content *c, struct tensors *t, const struct training *tr,
                struct err *e)
{
    int rc = put_settings(t, tr, e);

    if (rc == 0)
        rc = put_input(t, c, tr->data->train.features, e);
    if (rc == 0)
        rc = each_of_model(t, tr->model, c, put_parameter, e);
    if (rc == 0)
        rc = put_optimizer(t, c, tr, e);
    if (rc == 0)
        rc = put_progress(t, &c->progress, tr->seed, e);
    return rc < 0 ? rc : put_history(t, c, e);
}

/* ---- reading ---- */

/* ERR_INVAL unless the text attribute is as wanted; `what` says it to people. */
static int text_matches(struct tensors *t, const char *path, const char *object,
                        const char *name, const char *what, const char *want,
                        struct err *e)
{
    char *text;
    int rc = tensors_get_text(t, object, name, &text, e);

    if (rc < 0)
        return rc;
    if (strcmp(text, want) != 0)
        rc = err_set(e, ERR_INVAL, "%s: it is of %s %s, not %s", path, what, text, want);
    free(text);
    return rc;
}

/* Whether the file is of this program, this model and this optimiser. */
static int get_kind(struct tensors *t, const char *path, const struct training *tr,
                    struct err *e)
{
    struct str layers = STR_INIT;
    int64_t schema;
    int rc = tensors_get_int(t, "/", "schema", &schema, e);

    if (rc == 0 && schema != SCHEMA)
        rc = err_set(e, ERR_VERSION, "%s: schema %" PRId64 "; this rung-train reads %d",
                     path, schema, SCHEMA);
    if (rc == 0)
        rc = text_matches(t, path, "/", "model", "model", tr->model_kind, e);
    model_describe(tr->model, &layers);
    if (rc == 0)
        rc = text_matches(t, path, "/", "layers", "layers", layers.p, e);
    str_free(&layers);
    if (rc == 0)
        rc = text_matches(t, path, "/optimizer", "kind", "optimizer",
                          tr->optimizer->config.kind, e);
    return rc;
}

/* What files that are older than it have not; *v then stays. */
static int get_later(struct tensors *t, const char *name, int64_t *v, struct err *e)
{
    int rc = tensors_get_int(t, "/progress", name, v, e);

    return rc == ERR_NOENT ? 0 : rc;
}

static int get_progress(struct tensors *t, struct content *c, struct err *e)
{
    struct progress *p = &c->progress;
    int rc = tensors_get_int(t, "/progress", "step", &p->step, e);

    if (rc == 0)
        rc = tensors_get_int(t, "/progress", "epoch", &p->epoch, e);
    if (rc == 0)
        rc = tensors_get_int(t, "/progress", "samples", &p->samples, e);
    if (rc == 0)
        rc = tensors_get_num(t, "/progress", "loss_scale", &p->loss.factor, e);
    p->loss.since = -1;
    if (rc == 0)
        rc = get_later(t, "loss_scale_steps", &p->loss.since, e);
    if (rc == 0)
        rc = get_later(t, "skipped", &p->loss.skipped, e);
    if (rc == 0)
        rc = get_later(t, "planned", &p->planned, e);
    if (rc == 0)
        rc = tensors_get_int(t, "/optimizer", "updates", &c->updates, e);
    if (rc == 0)
        rc = tensors_get_int(t, "/optimizer", "slots", &c->n_slots, e);
    return rc;
}

static int get_arrays(struct tensors *t, const struct training *tr, struct content *c,
                      struct err *e)
{
    size_t features = tr->data->train.features;
    int rc;

    c->mean = mem_resize(NULL, features, sizeof(float));
    c->scale = mem_resize(NULL, features, sizeof(float));
    c->values = mem_alloc(tr->model->n * sizeof(float));
    c->state = mem_alloc(tr->model->n_state * sizeof(float));
    rc = tensors_get(t, "/input/mean", TENSOR_F32, features, c->mean, e);
    if (rc == 0)
        rc = tensors_get(t, "/input/scale", TENSOR_F32, features, c->scale, e);
    if (rc == 0)
        rc = each_of_model(t, tr->model, c, get_parameter, e);
    for (int i = 0; i < tr->optimizer->n_slots && rc == 0; i++) {
        c->slots[i] = mem_alloc(tr->model->n * sizeof(float));
        /* Saved without momentum and going on with it: that starts from zero. */
        if (i >= c->n_slots)
            continue;
        rc = each_parameter(t, tr->model, "optimizer", optimizer_slot(tr->optimizer, i),
                            c->slots[i], get_parameter, e);
    }
    return rc;
}

/* Columns have been added, each behind the others: in those that an older file lacks
 * nothing was measured. */
static int get_columns(struct tensors *t, size_t rows,
                       const struct tensor_column columns[METRICS + 1], struct err *e)
{
    struct err why;
    int rc = ERR_NOENT;

    for (size_t n = METRICS + 1; n > 0 && rc == ERR_NOENT; n--) {
        rc = tensors_get_table(t, "/metrics", rows, n, columns, &why);
        double *lacking = columns[n - 1].data;
        for (size_t r = 0; rc == ERR_NOENT && n > 1 && r < rows; r++)
            lacking[r] = NAN;
    }
    return rc < 0 ? err_set(e, rc, "%s", why.text) : 0;
}

static int get_history(struct tensors *t, struct content *c, struct err *e)
{
    struct tensor_column columns[METRICS + 1];
    struct tensor_info info;
    int32_t *steps;
    double *values;
    int rc = tensors_info(t, "/metrics", &info, e);

    if (rc < 0)
        return rc;
    history_columns(info.count, columns, &steps, &values);
    rc = get_columns(t, info.count, columns, e);
    for (size_t r = 0; r < info.count && rc == 0; r++) {
        struct epoch_record record = {.step = steps[r]};
        for (size_t m = 0; m < METRICS; m++)
            record.metrics.v[m] = values[m * info.count + r];
        vec_push(&c->history, record);
    }
    free(steps);
    free(values);
    return rc;
}

int content_read(struct content *c, const char *path, const struct training *tr,
                 struct err *e)
{
    struct tensors *t;
    int rc = tensors_open(path, &t, e);

    if (rc < 0)
        return rc;
    rc = get_kind(t, path, tr, e);
    if (rc == 0)
        rc = get_progress(t, c, e);
    if (rc == 0)
        rc = get_arrays(t, tr, c, e);
    if (rc == 0)
        rc = get_history(t, c, e);
    tensors_close(t);
    return rc == ERR_NOENT ? ERR_CORRUPT : rc;
}

void content_take(const struct content *c, struct training *tr)
{
    struct device *d = tr->model->device;
    size_t bytes = tr->model->n * sizeof(float);
    size_t features = tr->data->train.features;

    d->ops->upload(d, tr->model->values, c->values, bytes);
    d->ops->upload(d, tr->model->state, c->state, tr->model->n_state * sizeof(float));
    for (int i = 0; i < tr->optimizer->n_slots; i++)
        d->ops->upload(d, tr->optimizer->slots[i], c->slots[i], bytes);
    tr->optimizer->updates = c->updates;
    memcpy(tr->data->mean, c->mean, features * sizeof(float));
    memcpy(tr->data->scale, c->scale, features * sizeof(float));
    tr->progress = c->progress;
    tr->history.n = 0;
    for (size_t i = 0; i < c->history.n; i++)
        vec_push(&tr->history, c->history.v[i]);
}
