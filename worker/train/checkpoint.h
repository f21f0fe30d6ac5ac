/* Checkpoints: one HDF5 file that holds a training as an epoch left it, so that it goes
 * on bit for bit as if never interrupted, and that says what it is by itself.
 *
 *     /                        attributes: schema, rung_version, model, layers, then
 *                              the settings of the run (lr, batch_size, ...)
 *     /input/mean, /scale      [features]: the model sees (x - mean) * scale
 *     /model/LAYER/PARAMETER   float32; dense: weight [out][in], bias [out];
 *                              conv: weight [out][height][width][in];
 *                              bn: weight, bias, running_mean, running_var [channels]
 *     /optimizer               attributes: kind, updates, slots (how many follow)
 *     /optimizer/LAYER/PARAMETER/SLOT
 *     /rng                     attributes: generator, seed. It is counter-based: every
 *                              draw follows from seed and epoch, there is no state
 *     /progress                attributes: step, epoch, samples, loss_scale,
 *                              loss_scale_steps, skipped, planned
 *     /metrics                 a table: step, then a column a metric; a row an epoch
 *
 * A directory holds the newest, checkpoint.h5, and the one before it. */
#ifndef WORKER_TRAIN_CHECKPOINT_H
#define WORKER_TRAIN_CHECKPOINT_H

#include "worker/train/trainer.h"

#include "base/str.h"
#include "base/vec.h"

#define CHECKPOINT_NAME     "checkpoint.h5"
#define CHECKPOINT_PREVIOUS "checkpoint.prev.h5"

/* One setting of a run, kept as an attribute. */
struct setting {
    const char *name;
    enum setting_type { SETTING_INT, SETTING_NUM, SETTING_TEXT } type;
    int64_t i;
    double r;
    const char *text;
};

struct progress {
    int64_t step, epoch; /* reports made; epochs trained: the same, here */
    int64_t samples;     /* trained on so far, counting repeats */
    struct loss_scale loss;
    int64_t planned; /* epochs of the learning rate's schedule; 0: it has no length,
                        or the file is older than schedules */
};

struct epoch_record {
    int32_t step;
    struct metrics metrics;
};

/* What is saved and loaded. */
struct training {
    const char *model_kind;
    struct data *data;
    struct model *model;
    struct optimizer *optimizer;
    uint64_t seed;
    struct progress progress;
    VEC(struct epoch_record) history;
    const struct setting *settings; /* only saved */
    size_t n_settings;
};

struct checkpoint_dir {
    const char *path;
    bool newest_ours; /* checkpoint.h5 is what this training was saved to or loaded
                         from, and so worth being kept as the previous one */
};

/* Writes checkpoint.h5 into the directory, which is made if need be. The one that was
 * there becomes checkpoint.prev.h5 before it is replaced: whenever the machine stops,
 * one whole checkpoint is there. What an earlier save that was killed has left is
 * removed: a directory is one training's. */
int checkpoint_save(struct checkpoint_dir *dir, const struct training *t, struct err *e);
/* The same of a copy of the training (content.h). */
struct content;
int checkpoint_write(struct checkpoint_dir *dir, const struct content *c,
                     const struct training *t, struct err *e);

/* Loads the checkpoint of a step, or the newest whole one if step is -1, into t, whose
 * model, optimiser and data must have the shape it was saved with. Where the newest is
 * damaged and the previous one is not ahead of `step`, that is taken: repeating epochs
 * gives the same ones again. `notes` gets a line for what is damaged. ERR_NOENT if none
 * is there; ERR_CORRUPT if all that are there are damaged; ERR_INVAL if what is there
 * is of another model or step. On failure t is unchanged. */
int checkpoint_load(struct checkpoint_dir *dir, int64_t step, struct training *t,
                    struct str *notes, struct err *e);

#endif
