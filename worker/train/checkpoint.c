#include "worker/train/checkpoint.h"

#include "base/file.h"
#include "worker/train/content.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* What is not arrays is little. */
static size_t file_bytes(const struct training *tr)
{
    size_t arrays = 1 + (size_t)tr->optimizer->n_slots;

    return (arrays * tr->model->n + tr->model->n_state + 2 * tr->data->train.features) *
               sizeof(float) +
           ((size_t)1 << 20);
}

int checkpoint_write(struct checkpoint_dir *dir, const struct content *c,
                     const struct training *tr, struct err *e)
{
    char *path = path_join(dir->path, CHECKPOINT_NAME);
    char *previous = path_join(dir->path, CHECKPOINT_PREVIOUS);
    struct tensors *t = NULL;
    int rc = dir_make(dir->path, 0777, e);

    if (rc == 0)
        rc = tensors_create(&t, file_bytes(tr), e);
    if (rc == 0)
        rc = content_put(c, t, tr, e);
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

int checkpoint_save(struct checkpoint_dir *dir, const struct training *tr, struct err *e)
{
    struct content c = {0};
    int rc = content_copy(&c, tr, e);

    if (rc == 0)
        rc = checkpoint_write(dir, &c, tr, e);
    content_free(&c);
    return rc;
}

/* ---- loading ---- */

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
    c->rc = content_read(&c->content, c->path, tr, &c->err);
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
