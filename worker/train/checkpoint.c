#include "worker/train/checkpoint.h"

#include "base/file.h"
#include "base/mem.h"
#include "config.h"
#include "store/tensors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- saving ---- */

static int put_device_array(struct tensors *t, const struct model *m, const char *group,
                            const char *slot, const float *values, struct err *e)
{
    float *host = mem_resize(NULL, m->n, sizeof(*host));
    int rc = m->device->ops->download(m->device, host, values, m->n * sizeof(*host), e);

    if (rc == 0)
        rc = each_parameter(t, m, group, slot, host, put_parameter, e);
    free(host);
    return rc;
}

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

static int put_input(struct tensors *t, const struct data *d, struct err *e)
{
    const size_t *n = &d->train.features;
    int rc = tensors_put(t, "/input/mean", TENSOR_F32, 1, n, d->mean, e);

    return rc < 0 ? rc : tensors_put(t, "/input/scale", TENSOR_F32, 1, n, d->scale, e);
}

static int put_optimizer(struct tensors *t, const struct training *tr, struct err *e)
{
    const struct optimizer *o = tr->optimizer;
    int rc = tensors_put_text(t, "/optimizer", "kind", o->config.kind, e);

    if (rc == 0)
        rc = tensors_put_int(t, "/optimizer", "updates", o->updates, e);
    if (rc == 0)
        rc = tensors_put_int(t, "/optimizer", "slots", o->n_slots, e);
    for (int i = 0; i < o->n_slots && rc == 0; i++)
        rc = put_device_array(t, tr->model, "optimizer", optimizer_slot(o, i),
                              o->slots[i], e);
    return rc;
}

static int put_progress(struct tensors *t, const struct training *tr, struct err *e)
{
    const struct progress *p = &tr->progress;
    char seed[24];
    int rc = tensors_put_int(t, "/progress", "step", p->step, e);

    snprintf(seed, sizeof(seed), "%" PRIu64, tr->seed);
    if (rc == 0)
        rc = tensors_put_int(t, "/progress", "epoch", p->epoch, e);
    if (rc == 0)
        rc = tensors_put_int(t, "/progress", "samples", p->samples, e);
    if (rc == 0)
        rc = tensors_put_num(t, "/progress", "loss_scale", p->loss_scale, e);
    if (rc == 0)
        rc = tensors_put_int(t, "/progress", "planned", p->planned, e);
    if (rc == 0)
        rc = tensors_put_text(t, "/rng", "generator", "philox4x32-10", e);
    if (rc == 0)
        rc = tensors_put_text(t, "/rng", "seed", seed, e);
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

static int put_history(struct tensors *t, const struct training *tr, struct err *e)
{
    struct tensor_column columns[METRICS + 1];
    size_t rows = tr->history.n;
    int32_t *steps;
    double *values;
    int rc;

    history_columns(rows, columns, &steps, &values);
    for (size_t r = 0; r < rows; r++) {
        steps[r] = tr->history.v[r].step;
        for (size_t m = 0; m < METRICS; m++)
            values[m * rows + r] = tr->history.v[r].metrics.v[m];
    }
    rc = tensors_put_table(t, "/metrics", rows, METRICS + 1, columns, e);
    free(steps);
    free(values);
    return rc;
}

static int put_all(struct tensors *t, const struct training *tr, struct err *e)
{
    int rc = put_settings(t, tr, e);

    if (rc == 0)
        rc = put_input(t, tr->data, e);
    if (rc == 0)
        rc = put_device_array(t, tr->model, "model", NULL, tr->model->values, e);
    if (rc == 0)
        rc = put_optimizer(t, tr, e);
    if (rc == 0)
        rc = put_progress(t, tr, e);
    return rc < 0 ? rc : put_history(t, tr, e);
}

/* Gives the newest its second name, beside the first where links can be made. */
static int keep_previous(const char *path, const char *previous, struct err *e)
{
    if (access(path, F_OK) < 0)
        return 0;
    if (unlink(previous) < 0 && errno != ENOENT)
        return err_sys(e, "%s", previous);
    if (link(path, previous) == 0 || rename(path, previous) == 0)
        return 0;
    return err_sys(e, "%s", path);
}

int checkpoint_save(struct checkpoint_dir *dir, const struct training *tr, struct err *e)
{
    char *path = path_join(dir->path, CHECKPOINT_NAME);
    char *previous = path_join(dir->path, CHECKPOINT_PREVIOUS);
    struct tensors *t = NULL;
    int rc = dir_make(dir->path, 0777, e);

    if (rc == 0)
        rc = tensors_create(&t, e);
    if (rc == 0)
        rc = put_all(t, tr, e);
    if (rc == 0 && dir->newest_ours)
        rc = keep_previous(path, previous, e);
    file_tidy(path);
    if (rc == 0)
        rc = tensors_save(t, path, e);
    if (rc == 0)
        dir->newest_ours = true;
    tensors_close(t);
    free(path);
    free(previous);
    return rc;
}

/* ---- loading ---- */

/* What a file holds, in memory of ours until all of it has been read. */
struct content {
    struct progress progress;
    int64_t updates, n_slots;
    float *mean, *scale;
    float *values;
    float *slots[OPTIMIZER_SLOTS];
    VEC(struct epoch_record) history;
};

static void content_free(struct content *c)
{
    free(c->mean);
    free(c->scale);
    free(c->values);
    for (int i = 0; i < OPTIMIZER_SLOTS; i++)
        free(c->slots[i]);
    vec_free(&c->history);
}

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

static int get_progress(struct tensors *t, struct content *c, struct err *e)
{
    struct progress *p = &c->progress;
    int rc = tensors_get_int(t, "/progress", "step", &p->step, e);

    if (rc == 0)
        rc = tensors_get_int(t, "/progress", "epoch", &p->epoch, e);
    if (rc == 0)
        rc = tensors_get_int(t, "/progress", "samples", &p->samples, e);
    if (rc == 0)
        rc = tensors_get_num(t, "/progress", "loss_scale", &p->loss_scale, e);
    if (rc == 0) {
        rc = tensors_get_int(t, "/progress", "planned", &p->planned, e);
        if (rc == ERR_NOENT)
            rc = 0; /* saved before there were schedules */
    }
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
    rc = tensors_get(t, "/input/mean", TENSOR_F32, features, c->mean, e);
    if (rc == 0)
        rc = tensors_get(t, "/input/scale", TENSOR_F32, features, c->scale, e);
    if (rc == 0)
        rc = each_parameter(t, tr->model, "model", NULL, c->values, get_parameter, e);
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
    rc = tensors_get_table(t, "/metrics", info.count, METRICS + 1, columns, e);
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

/* Reads all of one file. ERR_INVAL and ERR_VERSION: whole, but not ours; ERR_NOENT:
 * not there; anything else is damage, ERR_CORRUPT. */
static int content_read(const char *path, const struct training *tr, struct content *c,
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

static void content_take(struct content *c, struct training *tr)
{
    struct device *d = tr->model->device;
    size_t bytes = tr->model->n * sizeof(float);
    size_t features = tr->data->train.features;

    d->ops->upload(d, tr->model->values, c->values, bytes);
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

/* One of the two files of a directory. */
struct candidate {
    char *path;
    struct content content;
    int rc; /* of reading it */
    struct err err;
};

static void candidate_read(struct candidate *c, const char *dir, const char *name,
                           const struct training *tr)
{
    c->path = path_join(dir, name);
    c->rc = content_read(c->path, tr, &c->content, &c->err);
}

/* Whether the previous checkpoint will do, now that the newest will not. */
static bool previous_serves(const struct candidate *newest,
                            const struct candidate *previous, int64_t step)
{
    int64_t held = previous->content.progress.step;

    if (previous->rc < 0)
        return false;
    return step < 0 || held == step ||
           (newest->rc == ERR_CORRUPT && held > 0 && held < step);
}

/* "A holds step 5; B: it is damaged" */
static int none_serves(const struct candidate both[2], const char *dir, int64_t step,
                       struct err *e)
{
    struct str text = STR_INIT;
    int rc = ERR_NOENT;

    for (int i = 0; i < 2; i++) {
        const struct candidate *c = &both[i];
        if (c->rc == ERR_NOENT)
            continue;
        rc = c->rc < 0 ? c->rc : rc == ERR_NOENT ? ERR_INVAL : rc;
        str_add(&text, text.len ? "; " : ": ");
        if (c->rc < 0)
            str_add(&text, c->err.text);
        else
            str_addf(&text, "%s holds step %" PRId64, c->path, c->content.progress.step);
    }
    if (step < 0)
        err_set(e, rc, "%s: no whole checkpoint is there%s", dir, text.p);
    else
        err_set(e, rc, "%s: no checkpoint of step %" PRId64 " is there%s", dir, step,
                text.p);
    str_free(&text);
    return rc;
}

int checkpoint_load(struct checkpoint_dir *dir, int64_t step, struct training *tr,
                    struct str *notes, struct err *e)
{
    struct candidate both[2] = {0}, *newest = &both[0], *previous = &both[1];
    int rc = 0;

    candidate_read(newest, dir->path, CHECKPOINT_NAME, tr);
    dir->newest_ours =
        newest->rc == 0 && (step < 0 || newest->content.progress.step == step);
    if (dir->newest_ours) {
        content_take(&newest->content, tr);
        goto out;
    }
    if (newest->rc < 0 && newest->rc != ERR_CORRUPT && newest->rc != ERR_NOENT) {
        rc = err_set(e, newest->rc, "%s", newest->err.text);
        goto out;
    }
    candidate_read(previous, dir->path, CHECKPOINT_PREVIOUS, tr);
    if (!previous_serves(newest, previous, step)) {
        rc = none_serves(both, dir->path, step, e);
        goto out;
    }
    if (newest->rc == ERR_CORRUPT)
        str_addf(notes, "%s; going on from %s, step %" PRId64 "\n", newest->err.text,
                 previous->path, previous->content.progress.step);
    content_take(&previous->content, tr);
out:
    for (int i = 0; i < 2; i++) {
        free(both[i].path);
        content_free(&both[i].content);
    }
    return rc;
}
