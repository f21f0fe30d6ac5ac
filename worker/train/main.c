/* rung-train: trains a classifier, reports each epoch, and does as the sweep says.
 *
 * Where things are: options.c what it can be told, data*.c what it learns from, model.c
 * and pass.c the network, optimizer.c its steps, schedule.c how large they are,
 * trainer.c the epochs, comm.c the ranks that train together, checkpoint.c what survives,
 * saver.c when; cpu.c, or by devices.c a GPU, does the arithmetic behind device.h. Here
 * they meet librung.
 *
 * All ranks go the same way. Rank 0 alone prints, talks to the agent, saves and loads;
 * what it learns from that, it tells the others before any of them acts on it. Ranks are
 * processes or, with --parallel dp, threads of one. */
#include "config.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/proc.h"
#include "base/units.h"
#include "worker/lib/rung.h"
#include "worker/train/alike.h"
#include "worker/train/checkpoint.h"
#include "worker/train/devices.h"
#include "worker/train/leak.h"
#include "worker/train/options.h"
#include "worker/train/saver.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_USAGE 2

/* By hand, an epoch is followed by a checkpoint when training took this many times as
 * long as the last one did. */
#define SAVE_SHARE 50

#define EPOCHS_BY_HAND 10

/* What the sweep says to rank 0, for all ranks. */
struct sweep {
    bool active;
    long start, first_until; /* a stop at or past it says that the trial is complete */
    uint64_t seed;
};

/* Bytes after each epoch. */
struct growth {
    VEC(double) bytes;
    bool said; /* that it looks like a leak */
};

struct app {
    struct comm *comm; /* the ranks of this training; NULL: this process alone */
    struct options options;
    struct rung *rung;
    struct sweep sweep;
    struct device *device;
    struct trainer *trainer;
    struct training training;
    size_t batch_size; /* as asked for, and not more than there are samples */
    struct schedule schedule;
    int64_t planned;           /* epochs that the schedule is over; 0: it has no length */
    struct checkpoint_dir dir; /* path NULL: nowhere to save */
    struct setting settings[OPTIONS_SETTINGS];
    struct str settings_text;
    /* The progress line, when stderr is a terminal. */
    bool live;
    double ticked; /* when the last tick was heeded */
    double begun;  /* when this epoch began */
    struct saver *saver;
    double saved;            /* when the last checkpoint was there */
    struct err late;         /* what went wrong between two epochs */
    struct growth host, gpu; /* of this process's memory, and of its GPU's */
};

/* Epochs in all, as far as is known: 0 inside a sweep that does not say --epochs. The
 * sweep tells a trial its next milestone, not its last step. */
static int64_t epochs_known(const struct app *a)
{
    return a->options.epochs ? a->options.epochs : a->sweep.active ? 0 : EPOCHS_BY_HAND;
}

/* Whether the ranks are threads of this process, one a device. */
static bool has_devices(const struct app *a)
{
    return strcmp(a->options.parallel, "dp") == 0;
}

static bool is_staged(const struct app *a)
{
    return strcmp(a->options.parallel, "mp") == 0;
}

static bool is_fp16(const struct app *a)
{
    return options_precision(&a->options) == PRECISION_FP16;
}

/* ---- what a person sees ---- */

/* Seconds until all epochs are trained, if they go on as this one does. */
static double seconds_left(const struct app *a, double now, double share)
{
    const struct training *t = &a->training;
    int64_t epochs = epochs_known(a) - t->progress.epoch - 1;
    double training = (now - a->begun) / share, validation = 0;

    if (t->history.n) {
        const double *v = t->history.v[t->history.n - 1].metrics.v;
        double trained = (double)t->data->training.n / v[METRIC_SAMPLES_PER_SECOND];
        validation = fmax(v[METRIC_EPOCH_SECONDS] - trained, 0);
    }
    return (double)epochs * (training + validation) + (1 - share) * training + validation;
}

static void draw_progress(const struct app *a, double now, size_t done, size_t total)
{
    double share = (double)done / (double)total;
    char left[UNITS_MAX];

    fprintf(stderr, "\repoch %" PRId64, a->training.progress.epoch + 1);
    if (epochs_known(a))
        fprintf(stderr, "/%" PRId64, epochs_known(a));
    fprintf(stderr, "  %3.0f %%  %.0f samples/s", 100 * share,
            (double)done / (now - a->begun));
    if (epochs_known(a))
        fprintf(stderr, "  %s left", duration_format(left, seconds_left(a, now, share)));
    fputs("\033[K", stderr);
    fflush(stderr);
}

static void clear_line(const struct app *a)
{
    if (a->live)
        fputs("\r\033[K", stderr);
}

static void print_start(const struct app *a)
{
    const struct training *t = &a->training;
    struct str shape = STR_INIT;
    char device[300];

    if (a->options.quiet)
        return;
    if (a->comm)
        fprintf(stderr, "%d ranks by %s%s\n", comm_size(a->comm), comm_name(a->comm),
                is_staged(a) ? ", each with some of the layers" : "");
    samples_shape(&t->data->train, &shape);
    fprintf(stderr, "%s: %zu samples of %s to train, %zu to validate, %zu classes\n",
            a->options.data, t->data->training.n, shape.p, t->data->validation.n,
            t->data->classes);
    str_cut(&shape, 0);
    model_describe(t->model, &shape);
    a->device->ops->describe(a->device, device, sizeof(device));
    fprintf(stderr, "%s %s: %zu parameters, %s\n", a->options.model, shape.p,
            t->model->n_parameters, device);
    str_free(&shape);
}

static void print_epoch(const struct app *a, const struct metrics *m)
{
    clear_line(a);
    if (a->options.quiet)
        return;
    printf("epoch %" PRId64 "  loss %.4f  accuracy %.4f  val_loss %.4f  "
           "val_accuracy %.4f  %.0f samples/s  %.2f s\n",
           a->training.progress.epoch, m->v[METRIC_LOSS], m->v[METRIC_ACCURACY],
           m->v[METRIC_VAL_LOSS], m->v[METRIC_VAL_ACCURACY],
           m->v[METRIC_SAMPLES_PER_SECOND], m->v[METRIC_EPOCH_SECONDS]);
    fflush(stdout);
}

/* All ranks come here with the same text. */
static int complain(const struct app *a, const char *text)
{
    clear_line(a);
    if (comm_rank(a->comm) == 0)
        fprintf(stderr, "rung-train: %s\n", text);
    return EXIT_FAILURE;
}

/* Another rank is lost: its end is ours. */
static void lost(void *arg, const char *text)
{
    const struct app *a = arg;

    if (text) {
        clear_line(a);
        fprintf(stderr, "rung-train: %s\n", text);
    }
    _exit(EXIT_FAILURE);
}

/* ---- beginning ---- */

static const char *lookup(const void *arg, const char *name)
{
    return rung_param(arg, name);
}

static bool needs_epochs(const struct options *o)
{
    return schedule_has_length(o->lr_schedule) ||
           (strcmp(o->lr_schedule, "step") == 0 && !o->lr_step_epochs);
}

static int check_epochs(const struct app *a, struct err *e)
{
    if (!needs_epochs(&a->options) || epochs_known(a))
        return 0;
    return err_set(e, ERR_INVAL,
                   "lr_schedule %s needs the training's length: give --epochs, inside a "
                   "sweep its max_t",
                   a->options.lr_schedule);
}

static int check_parallel(const struct app *a, struct err *e)
{
    int ranks = comm_size(a->comm);

    if (has_devices(a) && ranks > 1)
        return err_set(e, ERR_INVAL,
                       "--parallel dp is for the devices of one process, and there are "
                       "%d: with ddp they train together",
                       ranks);
    if (is_staged(a) && ranks == 1)
        return err_set(e, ERR_INVAL,
                       "--parallel mp is for several ranks, and this is one alone: start "
                       "them with srun --mpi=pmix or mpirun");
    return 0;
}

/* rc is what parsing them came to. All ranks at once, with the same result. */
static int check_options(struct app *a, int rc, struct err *e)
{
    struct options *o = &a->options;
    struct str mine = STR_INIT;

    if (rc == 0 && !o->help && !o->version)
        rc = check_epochs(a, e);
    if (rc == 0 && !o->help && !o->version)
        rc = check_parallel(a, e);
    rc = comm_agree(a->comm, rc, e);
    if (rc < 0)
        return rc;
    if (!o->seed_given)
        o->seed = a->sweep.seed;
    alike_add(&mine, "rung-train's version", PACKAGE_VERSION);
    alike_add(&mine, "what is asked for",
              o->help      ? "--help"
              : o->version ? "--version"
                           : "a training");
    options_alike(o, &mine);
    rc = alike_check(a->comm, &mine, e);
    str_free(&mine);
    return rc;
}

static int open_schedule(struct app *a, struct err *e)
{
    const struct options *o = &a->options;
    int64_t epochs = epochs_known(a);
    int64_t steps = trainer_steps(a->training.data->training.n, a->batch_size);

    a->planned = needs_epochs(o) ? epochs : 0;
    a->schedule = (struct schedule){
        .kind = o->lr_schedule,
        .steps = steps * epochs,
        .warmup = o->warmup_steps,
        .every = steps * (o->lr_step_epochs ? o->lr_step_epochs : (epochs + 2) / 3),
        .factor = o->lr_factor,
        .final = o->lr_final,
    };
    return schedule_check(&a->schedule, e);
}

/* All ranks at once, with the same result. */
static int open_data(struct app *a, struct err *e)
{
    const struct options *o = &a->options;
    struct data_config config = {o->data, (size_t)o->limit, o->val_fraction};
    struct str mine = STR_INIT;
    int rc = 0;

    if (a->sweep.active && *rung_error(a->rung))
        rc = err_set(e, ERR_IO, "%s", rung_error(a->rung));
    rc = comm_agree(a->comm, rc, e);
    if (rc == 0 && !(a->training.data = data_open_shared(&config, a->comm, e)))
        rc = e->code;
    if (rc == 0)
        data_measure(a->training.data);
    if (rc < 0 || !a->comm)
        return rc;
    data_alike(a->training.data, &mine);
    rc = alike_check(a->comm, &mine, e);
    str_free(&mine);
    return rc;
}

static int open_device(struct app *a, struct err *e)
{
    const struct options *o = &a->options;
    struct str notes = STR_INIT;

    a->device = devices_open(
        &(struct devices_config){o->device, (int)o->threads, a->comm, &notes}, e);
    if (notes.len && comm_rank(a->comm) == 0)
        fprintf(stderr, "rung-train: %s", notes.p);
    str_free(&notes);
    return a->device ? 0 : e->code;
}

static int open_training(struct app *a, struct err *e)
{
    const struct options *o = &a->options;
    struct training *t = &a->training;
    bool planar;

    if (open_device(a, e) < 0)
        return e->code;
    if (a->device->ops->set_precision(a->device, options_precision(o), e) < 0)
        return err_prefix(e, "--precision %s", o->precision);
    a->batch_size = (size_t)o->batch_size;
    if (a->batch_size > t->data->training.n)
        a->batch_size = t->data->training.n;
    if (open_schedule(a, e) < 0)
        return e->code;
    t->model_kind = o->model;
    t->seed = o->seed;
    t->model = model_create(a->device,
                            &(struct model_config){
                                .kind = o->model,
                                .sample = samples_image(&t->data->train, &planar),
                                .classes = t->data->classes,
                                .hidden = o->hidden.v,
                                .n_hidden = o->hidden.n,
                                .seed = t->seed,
                                .dropout = o->dropout,
                            },
                            e);
    if (!t->model)
        return e->code;
    t->optimizer =
        optimizer_create(a->device,
                         &(struct optimizer_config){o->optimizer, o->lr, o->momentum,
                                                    o->weight_decay, o->nesterov},
                         t->model->n, e);
    if (!t->optimizer)
        return e->code;
    t->progress.loss = loss_scale_start(is_fp16(a), t->progress.loss);
    t->progress.planned = a->planned;
    t->n_settings = options_settings(o, a->settings, &a->settings_text);
    t->settings = a->settings;
    return 0;
}

/* Says that the schedule is another one than until here, as with --epochs {until}; it
 * goes on as the new one has it. */
static void note_schedule(struct app *a)
{
    int64_t *planned = &a->training.progress.planned;

    if (*planned && a->planned && *planned != a->planned)
        fprintf(stderr,
                "rung-train: the learning rate was scheduled over %" PRId64
                " epochs until here, and is over %" PRId64 " from here on\n",
                *planned, a->planned);
    *planned = a->planned;
}

/* Goes on from a checkpoint: inside a sweep from the one of the step that the sweep
 * says, by hand from the newest, if there is any. */
static int resume(struct app *a, struct err *e)
{
    int64_t start = a->sweep.active ? a->sweep.start : -1;
    struct str notes = STR_INIT;

    if (!a->dir.path || start == 0 || comm_rank(a->comm) > 0)
        return 0;
    int rc = checkpoint_load(&a->dir, start, &a->training, &notes, e);
    if (notes.len)
        fprintf(stderr, "rung-train: %s", notes.p);
    str_free(&notes);
    if (rc == ERR_NOENT && !a->sweep.active)
        return 0;
    if (rc == 0 && !a->options.quiet)
        fprintf(stderr, "going on after epoch %" PRId64 "\n", a->training.progress.epoch);
    if (rc == 0)
        note_schedule(a);
    a->training.progress.loss = loss_scale_start(is_fp16(a), a->training.progress.loss);
    return rc;
}

/* What training goes on from, as rank 0 has it: fresh, or loaded. */
static int replicate(struct app *a, struct err *e)
{
    struct training *t = &a->training;
    struct device *d = a->device;
    size_t features = t->data->train.features;

    if (!a->comm)
        return 0;
    if (!has_devices(a)) { /* those have one data set */
        comm_broadcast(a->comm, 0, t->data->mean, features * sizeof(float));
        comm_broadcast(a->comm, 0, t->data->scale, features * sizeof(float));
    }
    comm_broadcast(a->comm, 0, &t->progress, sizeof(t->progress));
    comm_broadcast(a->comm, 0, &t->optimizer->updates, sizeof(t->optimizer->updates));
    int rc = trainer_replicate(d, a->comm, t->model->values, t->model->n, e);
    if (rc == 0)
        rc = trainer_replicate(d, a->comm, t->model->state, t->model->n_state, e);
    for (int i = 0; i < t->optimizer->n_slots && rc == 0; i++)
        rc = trainer_replicate(d, a->comm, t->optimizer->slots[i], t->model->n, e);
    return rc;
}

/* ---- an epoch and what follows ---- */

/* Says that a checkpoint is there, once it is; with `wait`, not before. */
static int collect(struct app *a, bool wait, struct err *e)
{
    int64_t step;
    int rc = a->saver ? saver_collect(a->saver, wait, &step, e) : 0;

    if (rc < 0)
        return err_prefix(e, "cannot save a checkpoint");
    if (rc == 0)
        return 0;
    a->saved = clock_mono();
    if (a->sweep.active && rung_saved(a->rung, (long)step) < 0)
        return err_set(e, ERR_IO, "%s", rung_error(a->rung));
    return 0;
}

/* Called between batches. */
static void tick(void *arg, size_t done, size_t total)
{
    struct app *a = arg;
    double now = clock_mono();

    if (now - a->ticked < 0.2)
        return;
    a->ticked = now;
    if (a->live)
        draw_progress(a, now, done, total);
    if (!a->late.code)
        collect(a, false, &a->late);
}

/* Says, once, that memory grows from epoch to epoch. */
static void look_for_leak(const struct app *a, struct growth *g, const char *what,
                          double bytes)
{
    char more[UNITS_MAX], all[UNITS_MAX];

    vec_push(&g->bytes, bytes);
    double rate = g->said ? 0 : leak_rate(g->bytes.v, g->bytes.n);
    if (rate == 0)
        return;
    g->said = true;
    clear_line(a);
    fprintf(stderr,
            "rung-train: %s grows steadily, by %s an epoch, and is %s after epoch "
            "%" PRId64 ": this looks like a leak\n",
            what, size_format(more, rate), size_format(all, bytes),
            a->training.progress.epoch);
}

static void look_for_leaks(struct app *a, const struct metrics *m)
{
    struct device_memory gpu;

    look_for_leak(a, &a->host, "memory", m->v[METRIC_HOST_RSS]);
    if (a->device->ops->on_host)
        return;
    a->device->ops->memory(a->device, &gpu);
    look_for_leak(a, &a->gpu, "the GPU's memory", (double)gpu.used);
}

static int train_epoch(struct app *a, struct err *e)
{
    struct training *t = &a->training;
    struct epoch_record record;

    a->begun = clock_mono();
    int rc = trainer_epoch(a->trainer, (uint32_t)t->progress.epoch + 1, tick, a,
                           &record.metrics, e);
    if (rc == 0 && a->late.code)
        rc = err_set(e, a->late.code, "%s", a->late.text);
    rc = comm_agree(a->comm, rc, e);
    if (rc < 0)
        return rc;
    t->progress.epoch++;
    t->progress.step++;
    t->progress.samples += (int64_t)t->data->training.n;
    record.step = (int32_t)t->progress.step;
    vec_push(&t->history, record);
    if (comm_rank(a->comm) == 0) {
        print_epoch(a, &record.metrics);
        look_for_leaks(a, &record.metrics);
    }
    return 0;
}

/* Begins a checkpoint; at the end of a training waits for it, too. */
static int save(struct app *a, bool over, struct err *e)
{
    int rc = collect(a, true, e);

    if (rc == 0 && saver_begin(a->saver, e) < 0)
        rc = err_prefix(e, "cannot save a checkpoint");
    return rc < 0 ? rc : collect(a, over, e);
}

static double last_loss(const struct app *a)
{
    return a->training.history.v[a->training.history.n - 1].metrics.v[METRIC_LOSS];
}

static int diverged(const struct app *a, struct err *e)
{
    return err_set(e, ERR_RANGE,
                   "epoch %" PRId64
                   ": the loss is %s; is the learning rate, %g, too high?",
                   a->training.progress.epoch, isnan(last_loss(a)) ? "NaN" : "infinite",
                   a->options.lr);
}

/* Inside a sweep: reports the epoch and obeys. *over says that it is time to end. */
static int obey(struct app *a, bool *over, struct err *e)
{
    const struct training *t = &a->training;
    const struct metrics *m = &t->history.v[t->history.n - 1].metrics;
    struct rung_metric report[METRICS];

    /* What rung asked for, because time is running out, is there before the next report.
     */
    if (collect(a, true, e) < 0)
        return e->code;
    size_t n = a->device->ops->on_host ? METRICS_ON_HOST : METRICS;
    for (size_t i = 0; i < n; i++)
        report[i] = (struct rung_metric){metric_names[i], m->v[i]};
    int answer = rung_report(a->rung, (long)t->progress.step, n, report);
    if (answer < 0)
        return err_set(e, ERR_IO, "%s", rung_error(a->rung));
    int decision = answer & ~RUNG_SAVE;
    *over = *over || decision != RUNG_CONTINUE;
    if (!*over && !isfinite(last_loss(a))) {
        /* Below a milestone nobody decides, and no epoch will mend it: the trial is over,
         * and what it reported is never the best. */
        struct err why;
        diverged(a, &why);
        complain(a, why.text);
        *over = true;
        return 0;
    }
    if (decision == RUNG_STOP && (long)t->progress.step < a->sweep.first_until)
        return 0; /* cut short: nobody wants its checkpoint */
    /* Ending unasked, at --epochs, is a pause too. */
    return *over || (answer & RUNG_SAVE) ? save(a, *over, e) : 0;
}

/* By hand: saves at the end, and before it as often as costs little; stops where
 * training makes no sense any more. */
static int look_after(struct app *a, bool over, struct err *e)
{
    if (!isfinite(last_loss(a)))
        return diverged(a, e);
    if (!a->dir.path)
        return 0;
    if (!over && (saver_busy(a->saver) ||
                  clock_mono() - a->saved < SAVE_SHARE * saver_seconds(a->saver)))
        return 0;
    return save(a, over, e);
}

/* What follows an epoch: rank 0 sees to it, and all ranks know what came of it. */
static int follow_up(struct app *a, bool *over, struct err *e)
{
    int rc = 0;

    if (comm_rank(a->comm) == 0)
        rc = a->sweep.active ? obey(a, over, e) : look_after(a, *over, e);
    rc = comm_agree(a->comm, rc, e);
    comm_broadcast(a->comm, 0, over, sizeof(*over));
    return rc;
}

static int run(struct app *a, struct err *e)
{
    int64_t epochs = epochs_known(a) ? epochs_known(a) : UINT32_MAX;
    int rc = 0;

    bool over = a->training.progress.epoch >= epochs;
    if (over && !a->options.quiet && comm_rank(a->comm) == 0)
        fprintf(stderr, "nothing to do: %" PRId64 " of %" PRId64 " epochs are done\n",
                a->training.progress.epoch, epochs);
    while (!over && rc == 0) {
        rc = train_epoch(a, e);
        over = a->training.progress.epoch >= epochs;
        if (rc == 0)
            rc = follow_up(a, &over, e);
    }
    const struct loss_scale *s = &a->training.progress.loss;
    if (rc == 0 && s->skipped && !a->options.quiet && comm_rank(a->comm) == 0)
        fprintf(stderr,
                "%" PRId64 " steps were left out in all, in which fp16 overflowed; the "
                "loss is scaled by %g\n",
                s->skipped, s->factor);
    return rc;
}

/* Bytes that will be needed beside those for batches: oneDNN has a layer's weights in an
 * order of its own while it works on them; and while a checkpoint is written, it is there
 * as it was and as the file will be. */
static double later_bytes(const struct app *a)
{
    const struct training *t = &a->training;
    size_t devices = has_devices(a) ? (size_t)comm_size(a->comm) : 1;
    size_t n = devices * t->model->n;

    if (a->dir.path && (has_devices(a) || comm_rank(a->comm) == 0))
        n += 2 * (t->model->n * (1 + (size_t)t->optimizer->n_slots) + t->model->n_state);
    return (double)(n * sizeof(float));
}

/* What --max-memory leaves beside what is there by now is for batches. */
static int limit_memory(struct app *a, struct err *e)
{
    bool on_host = a->device->ops->on_host;
    double most = (double)a->options.max_memory, there = proc_resident() + later_bytes(a);
    char needed[UNITS_MAX], asked[UNITS_MAX];
    struct device_memory gpu;

    if (!on_host) {
        a->device->ops->memory(a->device, &gpu);
        there = (double)gpu.used;
    }
    if (most == 0 || isnan(there))
        return 0;
    if (there >= most)
        return err_set(e, ERR_FULL,
                       "--max-memory %s is too little: program, data and model take %s "
                       "(--limit takes fewer samples)",
                       size_format(asked, most), size_format(needed, there));
    int devices = on_host && has_devices(a) ? comm_size(a->comm) : 1;
    a->device->ops->limit(a->device, (size_t)((most - there) / devices));
    return 0;
}

static int open_trainer(struct app *a, struct err *e)
{
    const struct options *o = &a->options;
    struct training *t = &a->training;
    struct str notes = STR_INIT;
    const struct trainer_config config = {
        .comm = a->comm,
        .batch_size = a->batch_size,
        .staged = is_staged(a),
        .micro_batches = (size_t)o->micro_batches,
        .seed = t->seed,
        .augmentation = {(size_t)o->crop, o->flip},
        .label_smoothing = o->label_smoothing,
        .schedule = a->schedule,
        .loss_scale = &t->progress.loss,
        .exchange = o->exchange,
        .lost = lost,
        .lost_arg = a,
        .notes = &notes,
    };

    a->trainer = trainer_create(a->device, t->data, t->model, t->optimizer, &config, e);
    bool speaks = comm_rank(a->comm) == 0 && !o->quiet;
    if (speaks)
        fputs(notes.p, stderr);
    str_free(&notes);
    if (!a->trainer)
        return e->code;
    size_t parts = trainer_micro_batches(a->trainer);
    if (speaks && parts > 1)
        fprintf(stderr, "batches are taken in %zu parts\n", parts);
    return 0;
}

/* From the data to the end of the training. All ranks at once, with the same result. */
static int train(struct app *a, struct err *e)
{
    int rc = comm_agree(a->comm, open_training(a, e), e);

    if (rc == 0)
        rc = comm_agree(a->comm, resume(a, e), e);
    if (rc == 0)
        rc = replicate(a, e);
    if (rc < 0)
        return rc;
    if (comm_rank(a->comm) == 0)
        print_start(a);
    rc = comm_agree(a->comm, limit_memory(a, e), e);
    if (rc < 0)
        return rc;
    /* Takes memory, which is in the limit. */
    if (comm_rank(a->comm) == 0 && a->dir.path)
        a->saver = saver_open(&a->dir, &a->training);
    rc = open_trainer(a, e);
    return rc < 0 ? rc : run(a, e);
}

static void close_training(struct app *a)
{
    saver_close(a->saver);
    trainer_destroy(a->trainer);
    optimizer_destroy(a->training.optimizer);
    model_destroy(a->training.model);
    device_close(a->device);
    vec_free(&a->training.history);
    vec_free(&a->host.bytes);
    vec_free(&a->gpu.bytes);
    str_free(&a->settings_text);
}

/* ---- ranks that are threads ---- */

struct device_thread {
    struct app app;
    pthread_t thread;
};

static void *train_on_device(void *arg)
{
    struct app *a = arg;
    struct err e;

    train(a, &e); /* rank 0 has the same error, and says it */
    close_training(a);
    comm_close(a->comm);
    return NULL;
}

static int devices(const struct app *a)
{
    int64_t n = a->options.devices;

    if (n == 0 && strcmp(a->options.device, "cpu") != 0)
        n = devices_gpus();
    if (n == 0)
        n = proc_cpus() / a->options.threads;
    return n < 1 ? 1 : (int)n;
}

/* Rank 0 is this thread. */
static int train_on_devices(struct app *a, struct err *e)
{
    int n = devices(a);
    struct device_thread *others = mem_alloc((size_t)n * sizeof(*others));
    struct comm **comms = mem_alloc((size_t)n * sizeof(struct comm *));
    struct app alone = *a;

    if (n > 1)
        comm_threads(n, comms);
    a->comm = comms[0];
    for (int i = 1; i < n; i++) {
        struct device_thread *t = &others[i];
        t->app = alone;
        t->app.comm = comms[i];
        t->app.rung = NULL;
        t->app.live = false;
        if (pthread_create(&t->thread, NULL, train_on_device, &t->app) != 0) {
            /* those that were started wait for it: they end with the process */
            fprintf(stderr, "rung-train: cannot start a thread for device %d of %d\n", i,
                    n);
            exit(EXIT_FAILURE);
        }
    }
    int rc = train(a, e);
    close_training(a);
    comm_close(a->comm);
    for (int i = 1; i < n; i++)
        pthread_join(others[i].thread, NULL);
    a->comm = NULL;
    free(comms);
    free(others);
    return rc;
}

/* ---- all of it ---- */

static int start_and_run(struct app *a, struct err *e)
{
    int rc = open_data(a, e);

    if (rc < 0)
        return rc;
    if (has_devices(a))
        return train_on_devices(a, e);
    rc = train(a, e);
    close_training(a);
    return rc;
}

/* All that is computed here gives the same bits each time, but for one thing: NVSwitches
 * add up what comes in an order of their own. Who names algorithms knows better. */
static void be_deterministic(void)
{
    setenv("NCCL_ALGO", "^NVLS,NVLSTree", 0);
}

/* The agent hears of rank 0 alone. */
static void open_sweep(struct app *a)
{
    if (comm_rank(a->comm) > 0)
        unsetenv("RUNG_SOCKET");
    a->rung = rung_open();
    a->sweep = (struct sweep){rung_active(a->rung), rung_start(a->rung),
                              rung_until(a->rung), rung_seed(a->rung)};
    comm_broadcast(a->comm, 0, &a->sweep, sizeof(a->sweep));
}

static void print_about(const struct options *o)
{
    struct str help = STR_INIT;

    if (o->help) {
        options_help(&help);
        fputs(help.p, stdout);
        str_free(&help);
    } else {
        puts("rung-train " PACKAGE_VERSION);
    }
}

int main(int argc, char *argv[])
{
    struct app a = {.settings_text = STR_INIT};
    struct err e = {0};
    int status = EXIT_SUCCESS;

    /* A limit on file sizes is a failed checkpoint, with a sentence, and no signal. */
    signal(SIGXFSZ, SIG_IGN);
    if (file_standard(&e) < 0) {
        complain(&a, e.text);
        return EXIT_FAILURE;
    }
    if (comm_open(&a.comm, lost, &a, &e) < 0) {
        if (comm_speaks())
            complain(&a, e.text);
        else /* the first to end may end all, and the one who speaks before it has */
            sleep(1);
        return EXIT_FAILURE;
    }
    open_sweep(&a);
    int rc = options_parse(&a.options, argc, argv, lookup, a.rung, &e);
    if (check_options(&a, rc, &e) < 0) {
        complain(&a, e.text);
        status = EXIT_USAGE;
    } else if (a.options.help || a.options.version) {
        if (comm_rank(a.comm) == 0)
            print_about(&a.options);
    } else {
        a.dir.path = a.options.checkpoint_dir;
        if (!a.dir.path && a.sweep.active)
            a.dir.path = rung_checkpoint_dir(a.rung);
        a.live = !a.options.quiet && comm_rank(a.comm) == 0 && isatty(STDERR_FILENO);
        if (a.options.deterministic)
            be_deterministic();
        if (start_and_run(&a, &e) < 0)
            status = complain(&a, e.text);
    }
    data_close(a.training.data);
    rung_close(a.rung);
    comm_close(a.comm);
    return status;
}
