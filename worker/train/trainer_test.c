#include "worker/train/fixture.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/tensors.h"
#include "worker/train/subject.h"

#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT     "trainer_test.dir"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct device *device;

static int setup(void **state)
{
    (void)state;
    device = subject_open(1);
    return dir_remove(ROOT, NULL);
}

static int teardown(void **state)
{
    (void)state;
    device_close(device);
    return dir_remove(ROOT, NULL);
}

static void bench_open_dropping(struct bench *b, const char *model, double dropout,
                                const char *optimizer, double lr,
                                const struct trainer_config *config)
{
    bench_open_on(b, device, model, dropout, optimizer, lr, config, NULL);
    assert_non_null(b->trainer);
}

static void bench_open_with(struct bench *b, const char *model, const char *optimizer,
                            double lr, const struct trainer_config *config)
{
    bench_open_dropping(b, model, 0, optimizer, lr, config);
}

static void bench_open(struct bench *b, const char *optimizer, double lr, size_t batch)
{
    bench_open_with(b, "mlp", optimizer, lr,
                    &(struct trainer_config){.batch_size = batch, .seed = 5});
}

static void test_divergence_is_no_error(void **state)
{
    (void)state;
    struct bench b;

    bench_open(&b, "sgd", 1e30, 32);
    struct metrics m = train(&b, 2);
    assert_false(isfinite(m.v[METRIC_LOSS]));
    assert_false(isfinite(m.v[METRIC_VAL_LOSS]));
    assert_true(isfinite(m.v[METRIC_ACCURACY]));
    bench_close(&b);
    trainer_destroy(NULL);
}

static void test_it_learns(void **state)
{
    (void)state;
    static const char *const optimizers[] = {"sgd", "adam", "adamw"};

    for (size_t i = 0; i < COUNT(optimizers); i++) {
        struct bench b;
        bench_open(&b, optimizers[i], 0.01, 32);
        struct metrics first = train(&b, 1), last = train(&b, 14);
        assert_true(last.v[METRIC_LOSS] < 0.5 * first.v[METRIC_LOSS]);
        assert_true(last.v[METRIC_VAL_ACCURACY] > 0.95);
        assert_true(last.v[METRIC_EPOCH_SECONDS] > 0);
        assert_true(last.v[METRIC_SAMPLES_PER_SECOND] > 0);
        bench_close(&b);
    }
}

/* Validation means are over samples, although its last batch is short (777 = 512 + 265):
 * the same as over all of them at once. */
static void test_validation_weighs_each_sample_alike(void **state)
{
    (void)state;
    struct device_totals totals = {0, 0};
    struct bench b;

    bench_open(&b, "sgd", 0.01, 32);
    struct metrics m = train(&b, 1);
    struct data *d = b.t.data;
    float *x = mem_alloc(VALIDATION * FEATURES * sizeof(*x));
    struct model *whole = model_create(
        device,
        &(struct model_config){
            "mlp", {1, 1, FEATURES}, CLASSES, (const size_t[]){16, 8}, 2, 5, 0},
        NULL);
    struct pass *pass = pass_create(
        whole, &(struct pass_config){0, whole->n_layers, VALIDATION, 0}, NULL);
    struct batch batch = {.rows = VALIDATION, .x = x};
    memcpy(whole->values, b.t.model->values, whole->n * sizeof(float));
    device->ops->gather(device,
                        &(struct device_gather){.x = d->test.x,
                                                .type = SAMPLE_F32,
                                                .stride = d->test.stride,
                                                .features = FEATURES,
                                                .index = d->validation.index,
                                                .mean = d->mean,
                                                .scale = d->scale,
                                                .planes = 1},
                        VALIDATION, x);
    device->ops->gather_wait(device);
    device->ops->softmax_loss(device, VALIDATION, CLASSES, pass_forward(pass, &batch),
                              d->test.y, d->validation.index, 0, 0, NULL, &totals);
    assert_true(fabs(m.v[METRIC_VAL_LOSS] - totals.loss / VALIDATION) < 1e-6);
    assert_true(m.v[METRIC_VAL_ACCURACY] == totals.correct / VALIDATION);
    free(x);
    pass_destroy(pass);
    model_destroy(whole);
    bench_close(&b);
}

/* Training means too: with a step so small that nothing changes, the loss of an epoch is
 * that of the data, whatever the batches (333 = 10 * 32 + 13). */
static void test_training_weighs_each_sample_alike(void **state)
{
    (void)state;
    static const size_t batches[] = {1, 32, 333, 1000};
    double loss = 0;

    for (size_t i = 0; i < COUNT(batches); i++) {
        struct bench b;
        bench_open(&b, "sgd", 1e-12, batches[i]);
        struct metrics m = train(&b, 1);
        if (i == 0)
            loss = m.v[METRIC_LOSS];
        assert_true(fabs(m.v[METRIC_LOSS] - loss) < 1e-5);
        bench_close(&b);
    }
}

/* With a step so small that nothing changes: label smoothing s makes of the training loss
 * the (1 - s)-th part and s times the mean over the classes; validation is as it was. */
static void test_labels_are_smoothed_in_training_alone(void **state)
{
    (void)state;
    enum { VALUES = 3 };
    double loss[VALUES];
    struct metrics plain = {{0}};

    for (int i = 0; i < VALUES; i++) {
        struct bench b;
        bench_open_with(&b, "mlp", "sgd", 1e-12,
                        &(struct trainer_config){
                            .batch_size = 32, .seed = 5, .label_smoothing = 0.25 * i});
        struct metrics m = train(&b, 1);
        if (i == 0)
            plain = m;
        loss[i] = m.v[METRIC_LOSS];
        assert_true(m.v[METRIC_ACCURACY] == plain.v[METRIC_ACCURACY]);
        assert_true(fabs(m.v[METRIC_VAL_LOSS] - plain.v[METRIC_VAL_LOSS]) < 1e-6);
        bench_close(&b);
    }
    assert_true(fabs(loss[1] - loss[0]) > 1e-3);
    assert_true(fabs((loss[2] - loss[0]) - 2 * (loss[1] - loss[0])) < 1e-5);
}

/* With a step so small that nothing changes: how images are moved does not depend on the
 * batches, is drawn anew in each epoch, and leaves validation alone. */
static void test_images_are_moved_in_training_alone(void **state)
{
    (void)state;
    static const size_t batches[] = {1, 32, 333};
    static const struct augmentation augmentations[] = {
        {0, false}, {2, false}, {0, true}};
    enum { EPOCHS = 2 };
    double loss[COUNT(augmentations)][EPOCHS];

    for (size_t a = 0; a < COUNT(augmentations); a++)
        for (size_t i = 0; i < COUNT(batches); i++) {
            struct bench b;
            static double plain;
            bench_open_with(&b, "cnn", "sgd", 1e-12,
                            &(struct trainer_config){.batch_size = batches[i],
                                                     .seed = 5,
                                                     .augmentation = augmentations[a]});
            for (size_t k = 0; k < EPOCHS; k++) {
                struct metrics m = train(&b, 1);
                if (i == 0)
                    loss[a][k] = m.v[METRIC_LOSS];
                if (a == 0)
                    plain = m.v[METRIC_VAL_LOSS];
                assert_true(fabs(m.v[METRIC_LOSS] - loss[a][k]) < 1e-5);
                assert_true(fabs(m.v[METRIC_VAL_LOSS] - plain) < 1e-5);
            }
            bench_close(&b);
        }
    assert_true(fabs(loss[0][0] - loss[0][1]) < 1e-5);
    for (size_t a = 1; a < COUNT(augmentations); a++) {
        assert_true(fabs(loss[a][0] - loss[0][0]) > 1e-4);
        assert_true(fabs(loss[a][0] - loss[a][1]) > 1e-4);
    }
}

static void test_what_cannot_be_moved_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *model; /* says what samples there are */
        struct augmentation augmentation;
        const char *message;
    } vectors[] = {
        {"mlp", {4, false}, "--crop is for images"},
        {"mlp", {0, true}, "--flip is for images"},
        {"cnn",
         {16, false},
         "--crop 16 could leave nothing of images of 16x16: below 16"},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct bench b;
        struct err e = {0};
        struct trainer_config config = {.batch_size = 32};
        bench_open_with(&b, vectors[i].model, "sgd", 0.01, &config);
        config.augmentation = vectors[i].augmentation;
        assert_null(
            trainer_create(device, b.t.data, b.t.model, b.t.optimizer, &config, &e));
        assert_int_equal(e.code, ERR_INVAL);
        assert_non_null(strstr(e.text, vectors[i].message));
        bench_close(&b);
    }
}

/* The learning rate of an epoch's last step. */
static double last_lr(const char *kind, size_t batch, int epochs)
{
    struct bench b;
    struct trainer_config config = {
        .batch_size = batch,
        .seed = 5,
        .schedule = {.kind = kind,
                     .steps = 4 * trainer_steps(TRAINING, batch),
                     .every = 2 * trainer_steps(TRAINING, batch),
                     .factor = 0.1}};

    assert_int_equal(schedule_check(&config.schedule, NULL), 0);
    bench_open_with(&b, "mlp", "sgd", 0.5, &config);
    train(&b, epochs);
    double lr = b.t.optimizer->lr;
    bench_close(&b);
    return lr;
}

/* 333 samples in batches of 32 are 11 steps an epoch, in batches of 111 they are 3. */
static void test_each_step_has_its_learning_rate(void **state)
{
    (void)state;
    static const struct {
        const char *kind;
        size_t batch;
        int epochs;
        double lr;
    } vectors[] = {
        {"constant", 32, 2, 0.5}, {"step", 32, 2, 0.5},
        {"step", 32, 3, 0.05},    {"step", 111, 2, 0.5},
        {"step", 111, 3, 0.05},   {"onecycle", 32, 4, 0},
        {"onecycle", 111, 4, 0},  {"cosine", 111, 2, 0.25 * (1 + 0.25881904510252074)},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        double lr = last_lr(vectors[i].kind, vectors[i].batch, vectors[i].epochs);
        if (!(fabs(lr - vectors[i].lr) < 1e-12))
            fail_msg("case %zu: %.17g is not %.17g", i, lr, vectors[i].lr);
    }
}

static void count(void *arg, size_t done, size_t total)
{
    size_t *last = arg;

    assert_int_equal(total, TRAINING);
    assert_true(done > *last && done <= total);
    *last = done;
}

static void test_tick_counts_to_the_end(void **state)
{
    (void)state;
    struct metrics m;
    struct bench b;
    size_t done = 0;

    bench_open(&b, "sgd", 0.01, 32);
    assert_int_equal(trainer_epoch(b.trainer, 1, count, &done, &m, NULL), 0);
    assert_int_equal(done, TRAINING);
    bench_close(&b);
}

static void test_cnn_learns_from_images_stored_by_planes(void **state)
{
    (void)state;
    struct bench b;

    bench_open_with(&b, "cnn", "sgd", 0.01,
                    &(struct trainer_config){.batch_size = 32, .seed = 5});
    struct metrics first = train(&b, 1), last = train(&b, 9);
    assert_true(last.v[METRIC_LOSS] < 0.02);
    assert_true(last.v[METRIC_LOSS] < 0.1 * first.v[METRIC_LOSS]);
    assert_true(last.v[METRIC_VAL_ACCURACY] > 0.99);
    bench_close(&b);
}

/* What it is evaluated by is not the batch's, so that this learns late. */
static void test_resnet_learns(void **state)
{
    (void)state;
    struct bench b;

    bench_open_with(&b, "resnet18", "sgd", 0.002,
                    &(struct trainer_config){.batch_size = 11, .seed = 5});
    struct metrics first = train(&b, 1), last = train(&b, 9);
    assert_true(last.v[METRIC_LOSS] < 0.5 * first.v[METRIC_LOSS]);
    assert_true(last.v[METRIC_VAL_ACCURACY] > 0.7);
    bench_close(&b);
}

/* Four epochs at once, or interrupted after each number of them and gone on with in a
 * new process's memory: the same bits. Of 11 steps each; interrupted in the warm-up, on
 * the way up and on the way down. */
/* ---- a scaled loss ---- */

/* Powers of two change no bit, where nothing overflows. */
static void test_a_scaled_loss_changes_nothing(void **state)
{
    (void)state;
    for (int adam = 0; adam < 2; adam++) {
        struct loss_scale scale = {4096, 0, 0};
        struct trainer_config config = {.batch_size = 32, .seed = 5, .micro_batches = 2};
        struct bench plain, scaled;

        bench_open_with(&plain, "mlp", adam ? "adam" : "sgd", 0.01, &config);
        config.loss_scale = &scale;
        bench_open_with(&scaled, "mlp", adam ? "adam" : "sgd", 0.01, &config);
        train(&plain, 2);
        struct metrics m = train(&scaled, 2);
        assert_true(same_state(&plain.t, &scaled.t));
        assert_true(m.v[METRIC_LOSS] == plain.t.history.v[1].metrics.v[METRIC_LOSS]);
        assert_int_equal(scale.since, 2 * trainer_steps(TRAINING, 32));
        assert_int_equal(scale.skipped, 0);
        bench_close(&plain);
        bench_close(&scaled);
    }
}

static void test_steps_that_overflow_are_left_out(void **state)
{
    (void)state;
    struct loss_scale scale = {0x1p126, 0, 0};
    struct bench b;
    int64_t steps = trainer_steps(TRAINING, 32);

    bench_open_with(
        &b, "mlp", "adam", 0.01,
        &(struct trainer_config){.batch_size = 32, .seed = 5, .loss_scale = &scale});
    for (size_t i = 0; i < b.t.data->train.features; i++)
        b.t.data->scale[i] *= 1e6f; /* so that gradients are large */
    train(&b, 1);
    assert_in_range(scale.skipped, 1, steps);
    assert_true(scale.factor == ldexp(1, 126 - (int)scale.skipped));
    assert_int_equal(b.t.optimizer->updates, steps - scale.skipped);
    for (size_t i = 0; i < b.t.model->n; i++)
        assert_true(isfinite(b.t.model->values[i]));
    bench_close(&b);
}

static void test_resuming_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *model, *optimizer;
        struct schedule schedule;
        struct augmentation augmentation;
        int stops; /* how often it is interrupted */
        double dropout;
    } vectors[] = {
        {"mlp", "sgd", {.kind = "constant"}, {0, false}, 3, 0},
        {"mlp", "adam", {.kind = "constant", .warmup = 15}, {0, false}, 3, 0},
        {"mlp",
         "adamw",
         {.kind = "cosine", .steps = 44, .warmup = 15, .final = 0.1},
         {0, false},
         3,
         0},
        {"mlp", "sgd", {.kind = "step", .every = 9, .factor = 0.5}, {0, false}, 3, 0},
        {"mlp", "sgd", {.kind = "onecycle", .steps = 44, .warmup = 15}, {0, false}, 3, 0},
        {"cnn", "sgd", {.kind = "constant"}, {.crop = 2, .flip = true}, 3, 0},
        {"mlp", "sgd", {.kind = "constant"}, {0, false}, 3, 0.5},
        {"cnn", "adam", {.kind = "constant"}, {0, false}, 1, 0.25},
        {"resnet18", "sgd", {.kind = "constant"}, {0, false}, 1, 0},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct bench straight;
        struct trainer_config config = {.batch_size = 32,
                                        .seed = 5,
                                        .schedule = vectors[i].schedule,
                                        .augmentation = vectors[i].augmentation};
        const char *model = vectors[i].model, *optimizer = vectors[i].optimizer;
        double dropout = vectors[i].dropout;
        bench_open_dropping(&straight, model, dropout, optimizer, 0.01, &config);
        train(&straight, 4);
        for (int stop = 1; stop <= vectors[i].stops; stop++) {
            struct checkpoint_dir dir = {ROOT, false};
            struct str notes = STR_INIT;
            struct bench before, after;
            bench_open_dropping(&before, model, dropout, optimizer, 0.01, &config);
            train(&before, stop);
            assert_int_equal(checkpoint_save(&dir, &before.t, NULL), 0);
            bench_close(&before);
            bench_open_dropping(&after, model, dropout, optimizer, 0.01, &config);
            assert_int_equal(checkpoint_load(&dir, stop, &after.t, &notes, NULL), 0);
            train(&after, 4 - stop);
            assert_true(same_state(&straight.t, &after.t));
            assert_int_equal(after.t.history.n, 4);
            for (size_t k = 0; k < 4; k++)
                for (int m = METRIC_LOSS; m <= METRIC_VAL_ACCURACY; m++)
                    assert_true(after.t.history.v[k].metrics.v[m] ==
                                straight.t.history.v[k].metrics.v[m]);
            bench_close(&after);
        }
        bench_close(&straight);
    }
}

/* A device opened where there is one CPU has no thread that gathers. */
static struct device *open_on_one_cpu(void)
{
    cpu_set_t all, one;

    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    struct device *d = subject_open(1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    return d;
}

static void test_gathering_beside_training_changes_nothing(void **state)
{
    (void)state;
    struct device *devices[] = {device, open_on_one_cpu()};

    for (size_t micro_batches = 1; micro_batches <= 2; micro_batches++) {
        const struct trainer_config config = {.batch_size = 130,
                                              .seed = 5,
                                              .micro_batches = micro_batches,
                                              .augmentation = {2, true}};
        struct metrics m[2];
        struct bench b[2];
        for (int i = 0; i < 2; i++) {
            bench_open_on(&b[i], devices[i], "cnn", 0, "sgd", 0.01, &config, NULL);
            m[i] = train(&b[i], 2);
        }
        assert_true(same_state(&b[0].t, &b[1].t));
        for (int i = METRIC_LOSS; i <= METRIC_VAL_ACCURACY; i++)
            assert_true(m[0].v[i] == m[1].v[i]);
        for (int i = 0; i < 2; i++)
            bench_close(&b[i]);
    }
    device_close(devices[1]);
}

static void test_a_checkpoint_has_filters_by_their_axes(void **state)
{
    (void)state;
    static const size_t shape[] = {6, 5, 5, 2};
    struct checkpoint_dir dir = {ROOT, false};
    struct tensor_info info;
    struct tensors *t;
    struct bench b;

    bench_open_with(&b, "cnn", "sgd", 0.01,
                    &(struct trainer_config){.batch_size = 32, .seed = 5});
    train(&b, 1);
    assert_int_equal(checkpoint_save(&dir, &b.t, NULL), 0);
    assert_int_equal(tensors_open(ROOT "/" CHECKPOINT_NAME, &t, NULL), 0);
    assert_int_equal(tensors_info(t, "/model/conv1/weight", &info, NULL), 0);
    assert_int_equal(info.type, TENSOR_F32);
    assert_int_equal(info.ndim, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(info.dim[i], shape[i]);
    assert_int_equal(tensors_info(t, "/model/conv2/bias", &info, NULL), 0);
    assert_int_equal(info.count, 16);
    tensors_close(t);
    bench_close(&b);
}

/* The published figure for such a network is 0.87 to 0.89; three epochs reach 0.86. */
static void test_fashion_mnist(void **state)
{
    (void)state;
    struct err e = {0};
    struct data *d = data_open(&(struct data_config){"fashion-mnist", 0, NAN}, &e);

    if (!d && e.code == ERR_NOENT)
        skip();
    assert_non_null(d);
    assert_int_equal(d->training.n, 60000);
    assert_int_equal(d->validation.n, 10000);
    data_measure(d);
    /* The constants that everybody uses are 0.2860 and 0.3530, of pixels over 255. */
    assert_true(fabs((double)d->mean[0] / 255 - 0.2860) < 1e-4);
    assert_true(fabs(1 / (double)d->scale[0] / 255 - 0.3530) < 1e-4);
    struct model *m = model_create(
        device,
        &(struct model_config){"mlp", {1, 1, 784}, 10, (const size_t[]){128}, 1, 0, 0},
        NULL);
    struct optimizer *o = optimizer_create(
        device, &(struct optimizer_config){"sgd", 0.01, 0.9, 0, false}, m->n, NULL);
    struct trainer *t =
        trainer_create(device, d, m, o, &(struct trainer_config){.batch_size = 64}, NULL);
    struct metrics metrics;
    for (uint32_t epoch = 1; epoch <= 3; epoch++)
        assert_int_equal(trainer_epoch(t, epoch, NULL, NULL, &metrics, NULL), 0);
    assert_true(metrics.v[METRIC_VAL_ACCURACY] >= 0.86);
    trainer_destroy(t);
    optimizer_destroy(o);
    model_destroy(m);
    data_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divergence_is_no_error),
        cmocka_unit_test(test_it_learns),
        cmocka_unit_test(test_cnn_learns_from_images_stored_by_planes),
        cmocka_unit_test(test_resnet_learns),
        cmocka_unit_test(test_validation_weighs_each_sample_alike),
        cmocka_unit_test(test_training_weighs_each_sample_alike),
        cmocka_unit_test(test_labels_are_smoothed_in_training_alone),
        cmocka_unit_test(test_images_are_moved_in_training_alone),
        cmocka_unit_test(test_what_cannot_be_moved_is_refused),
        cmocka_unit_test(test_each_step_has_its_learning_rate),
        cmocka_unit_test(test_tick_counts_to_the_end),
        cmocka_unit_test(test_a_scaled_loss_changes_nothing),
        cmocka_unit_test(test_steps_that_overflow_are_left_out),
        cmocka_unit_test(test_resuming_changes_nothing),
        cmocka_unit_test(test_gathering_beside_training_changes_nothing),
        cmocka_unit_test(test_a_checkpoint_has_filters_by_their_axes),
        cmocka_unit_test(test_fashion_mnist),
    };

    return cmocka_run_group_tests_name("trainer", tests, setup, teardown);
}
