/* What only a GPU has: memory of its own, that is short while operations run, and
 * precisions; and whole trainings on it. `make check-gpu` runs this, and beside it the
 * tests of devices, layers and trainer with the GPU in the CPU's place. */
#include "worker/train/gpu_wanted.h"

#include "base/mem.h"
#include "worker/train/cpu.h"
#include "worker/train/fixture.h"
#include "worker/train/pass.h"
#include "worker/train/reference.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { MIB = 1 << 20 };

/* ---- memory ---- */

/* Copies go in pieces of 8 MiB: around them, and several. */
static void test_copies_of_all_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,       3,           4096,        8 * MIB - 1,
                                   8 * MIB, 8 * MIB + 1, 25 * MIB + 7};
    struct device *d = gpu_wanted();

    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t n = sizes[i];
        unsigned char *out = mem_alloc(n), *back = mem_alloc(n);
        void *p;
        for (size_t k = 0; k < n; k++)
            out[k] = (unsigned char)(k * 2654435761u >> 24);
        assert_int_equal(d->ops->allocate(d, n, &p, NULL), 0);
        memset(back, 1, n);
        assert_int_equal(d->ops->download(d, back, p, n, NULL), 0);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(back[k], 0);
        d->ops->upload(d, p, out, n);
        memset(out, 2, n); /* it may be gone by now */
        assert_int_equal(d->ops->download(d, back, p, n, NULL), 0);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(back[k], (unsigned char)(k * 2654435761u >> 24));
        d->ops->release(d, p);
        free(out);
        free(back);
    }
    device_close(d);
}

static void test_memory_is_counted_and_limited(void **state)
{
    (void)state;
    struct device *d = gpu_wanted();
    struct device_memory before, now;
    struct err e;
    void *p, *q;

    d->ops->memory(d, &before);
    assert_int_equal(d->ops->allocate(d, 4 * MIB, &p, NULL), 0);
    d->ops->memory(d, &now);
    assert_int_equal(now.used, before.used + 4 * MIB);
    assert_true(now.peak >= now.used);
    d->ops->limit(d, 2 * MIB);
    assert_int_equal(d->ops->allocate(d, 4 * MIB, &q, &e), ERR_FULL);
    assert_non_null(strstr(e.text, "left: cannot allocate 4 MiB"));
    d->ops->release(d, p); /* kept, and given back for what is larger */
    assert_int_equal(d->ops->allocate(d, 6 * MIB, &q, &e), 0);
    d->ops->release(d, q);
    d->ops->limit(d, SIZE_MAX);
    assert_int_equal(d->ops->allocate(d, (size_t)1 << 50, &q, &e), ERR_FULL);
    assert_int_equal(d->ops->download(d, &e, NULL, 0, NULL), 0); /* it goes on */
    device_close(d);
}

/* A product in 16 bits needs room for them. */
static void test_an_operation_without_memory_is_forgiven(void **state)
{
    (void)state;
    enum { N = 2048 };
    struct device *d = gpu_wanted();
    struct device_gemm g = {.m = N, .n = N, .k = N};
    void *a, *c;
    float one[1];
    struct err e;

    assert_int_equal(d->ops->set_precision(d, PRECISION_FP16, NULL), 0);
    assert_int_equal(d->ops->allocate(d, N * N * sizeof(float), &a, NULL), 0);
    assert_int_equal(d->ops->allocate(d, N * N * sizeof(float), &c, NULL), 0);
    g.a = g.b = a;
    g.c = c;
    d->ops->limit(d, 0);
    d->ops->gemm(d, &g);
    d->ops->gemm(d, &g);
    assert_int_equal(d->ops->download(d, one, c, sizeof(one), &e), ERR_FULL);
    assert_non_null(strstr(e.text, "cannot allocate"));
    assert_int_equal(d->ops->download(d, one, c, sizeof(one), &e), ERR_FULL);
    d->ops->recover(d);
    assert_int_equal(d->ops->download(d, one, c, sizeof(one), &e), 0);
    d->ops->limit(d, SIZE_MAX);
    d->ops->gemm(d, &g);
    assert_int_equal(d->ops->download(d, one, c, sizeof(one), &e), 0);
    assert_true(one[0] == 0);
    device_close(d);
}

/* ---- steps that come again ---- */

enum { NUMBERS = 1000 };

/* A device and what steps on it work on: a, b, their sum with some dropped, gradients,
 * what is added to them, weights and momentum. */
struct stepping {
    struct device *device;
    float *of[7];
};

static struct stepping stepping_open(struct device *d)
{
    struct stepping s = {.device = d};

    for (uint32_t i = 0; i < COUNT(s.of); i++) {
        float *start = reference_numbers(NUMBERS, i);
        void *p;
        assert_int_equal(d->ops->allocate(d, NUMBERS * sizeof(*start), &p, NULL), 0);
        d->ops->upload(d, p, start, NUMBERS * sizeof(*start));
        s.of[i] = p;
        free(start);
    }
    return s;
}

/* Calls that are the same each time, but for what changes from step to step. */
static void one_step(const struct stepping *s, int k, float *weights)
{
    struct device *d = s->device;
    const struct device_dropout dropout = {.rows = 10,
                                           .cols = 100,
                                           .seed = (uint64_t)k,
                                           .row = 7 * (size_t)k,
                                           .keep = 40000};
    const struct device_sgd sgd = {1 / (float)(k + 1), 0.9f, 0.01f, k % 2};

    for (int i = 0; i < 4; i++) {
        d->ops->add(d, ACTIVATION_RELU, NUMBERS, s->of[0], s->of[1], s->of[0]);
        d->ops->dropout(d, &dropout, s->of[0], s->of[2]);
        d->ops->accumulate(d, NUMBERS, s->of[3], s->of[2]);
    }
    d->ops->sgd(d, &sgd, NUMBERS, s->of[5], s->of[3], s->of[6]);
    assert_int_equal(
        d->ops->download(d, weights, s->of[5], NUMBERS * sizeof(*weights), NULL), 0);
}

/* They are launched as one; and to the bit do what the CPU does one after another, also
 * when another step comes between, and when an operation gets more memory. */
static void test_steps_that_come_again_are_as_the_first(void **state)
{
    (void)state;
    enum { ROWS = 70000, COLS = 8 };
    struct device *cpu = cpu_open(1), *gpu = gpu_wanted();
    struct stepping on_cpu = stepping_open(cpu), on_gpu = stepping_open(gpu);
    float want[NUMBERS], got[NUMBERS];
    size_t launches = 0; /* before there is more memory */
    void *large;

    assert_int_equal(gpu->ops->allocate(gpu, ROWS * COLS * sizeof(float), &large, NULL),
                     0);
    for (int k = 0; k < 12; k++) {
        one_step(&on_cpu, k, want);
        one_step(&on_gpu, k, got);
        assert_memory_equal(got, want, sizeof(want));
        if (k == 3)
            launches = gpu->launches;
        if (k % 4 == 3)
            gpu->ops->activation_backward(gpu, ACTIVATION_NONE,
                                          (size_t)ROWS * (k + 1) / 12, COLS, NULL, large,
                                          on_gpu.of[4]);
    }
    assert_true(launches > 0 && gpu->launches > launches);
    device_close(cpu);
    device_close(gpu);
}

static float *floats_on(struct device *d, size_t n, float value)
{
    float *host = mem_resize(NULL, n, sizeof(*host));
    void *p;

    for (size_t i = 0; i < n; i++)
        host[i] = value;
    assert_int_equal(d->ops->allocate(d, n * sizeof(*host), &p, NULL), 0);
    d->ops->upload(d, p, host, n * sizeof(*host));
    free(host);
    return p;
}

/* Samples that are gathered before a step begins, which is then launched as a whole. */
static void test_a_recorded_step_sees_what_was_gathered_before_it(void **state)
{
    (void)state;
    enum { ROWS = 16384, COLS = 1024 };
    const struct device_sgd sgd = {.lr = 0};
    struct device *d = gpu_wanted();
    float *x = floats_on(d, COLS, 1000), *mean = floats_on(d, COLS, 0),
          *out = floats_on(d, (size_t)ROWS * COLS, 0), *none = floats_on(d, COLS, 0),
          *sum = floats_on(d, COLS, 0), *last = out + (size_t)(ROWS - 1) * COLS;
    void *index;

    assert_int_equal(d->ops->allocate(d, ROWS * sizeof(uint32_t), &index, NULL), 0);
    const struct device_gather g = {.x = x,
                                    .type = SAMPLE_F32,
                                    .stride = COLS * sizeof(*x),
                                    .features = COLS,
                                    .index = index,
                                    .mean = mean,
                                    .scale = floats_on(d, COLS, 1)};
    for (int k = 0; k < 6; k++) {
        float less = (float)k, got;
        d->ops->upload(d, mean + COLS - 1, &less, sizeof(less));
        d->ops->gather(d, &g, ROWS, out);
        assert_int_equal(d->ops->download(d, NULL, NULL, 0, NULL), 0);
        d->ops->gather_wait(d);
        for (int i = 0; i < 8; i++)
            d->ops->add(d, ACTIVATION_NONE, COLS, last, none, sum);
        d->ops->sgd(d, &sgd, COLS, none, none, NULL);
        assert_int_equal(d->ops->download(d, &got, sum + COLS - 1, sizeof(got), NULL), 0);
        assert_true(got == 1000 - less);
    }
    assert_true(d->launches > 0);
    device_close(d);
}

/* ---- trainings ---- */

/* Bytes of a batch's activations and their gradients, and nothing that an operation needs
 * while it runs. */
static size_t activations_of(enum device_precision precision)
{
    enum { ROWS = 64, SIDE = 32 };
    const struct model_config config = {
        .kind = "resnet18", .sample = {SIDE, SIDE, 3}, .classes = CLASSES, .seed = 5};
    struct device *d = gpu_wanted();
    struct device_memory before, after;

    assert_int_equal(d->ops->set_precision(d, precision, NULL), 0);
    struct model *m = model_create(d, &config, NULL);
    assert_non_null(m);
    d->ops->memory(d, &before);
    struct pass *p = pass_create(m, &(struct pass_config){0, m->n_layers, ROWS, 0}, NULL);
    assert_non_null(p);
    d->ops->memory(d, &after);
    pass_destroy(p);
    model_destroy(m);
    device_close(d);
    return after.used - before.used;
}

static void test_activations_of_16_bits_take_less_memory(void **state)
{
    (void)state;
    size_t all = activations_of(PRECISION_FP32);

    assert_true(activations_of(PRECISION_BF16) < all * 3 / 5);
    assert_true(activations_of(PRECISION_FP16) < all * 3 / 5);
}

/* Bytes that a batch takes beyond the model. */
struct batch_bytes {
    size_t pass, most; /* for its activations; the most at once, with all that runs */
};

static struct batch_bytes bytes_of_a_batch(bool training)
{
    enum { ROWS = 16, SIDE = 32 };
    const struct model_config config = {
        .kind = "resnet18", .sample = {SIDE, SIDE, 3}, .classes = CLASSES, .seed = 5};
    struct device *d = gpu_wanted();
    struct model *m = model_create(d, &config, NULL);
    struct device_memory before, made, after;
    void *x;

    assert_non_null(m);
    assert_int_equal(
        d->ops->allocate(d, ROWS * SIDE * SIDE * 3 * sizeof(float), &x, NULL), 0);
    d->ops->memory(d, &before);
    struct pass *p = pass_create(
        m, &(struct pass_config){0, m->n_layers, training ? ROWS : 0, ROWS}, NULL);
    assert_non_null(p);
    assert_in_range(pass_rows(p), ROWS, SIZE_MAX); /* as many at once in both */
    d->ops->memory(d, &made);
    pass_forward(p, &(struct batch){.rows = ROWS, .x = x, .training = training});
    if (training)
        pass_backward(p, m->gradients, NULL, NULL, NULL);
    assert_int_equal(d->ops->download(d, NULL, NULL, 0, NULL), 0);
    d->ops->memory(d, &after);
    pass_destroy(p);
    d->ops->release(d, x);
    model_destroy(m);
    device_close(d);
    return (struct batch_bytes){made.used - before.used, after.peak - before.used};
}

static void test_evaluation_keeps_no_activations(void **state)
{
    (void)state;
    struct batch_bytes training = bytes_of_a_batch(true),
                       evaluation = bytes_of_a_batch(false);

    assert_true(evaluation.most > evaluation.pass);
    assert_true(evaluation.most < training.most);
    assert_true(evaluation.pass < training.pass / 2);
}

static float *values_of(const struct bench *b)
{
    const struct model *m = b->t.model;
    float *v = mem_resize(NULL, m->n, sizeof(*v));

    assert_int_equal(
        m->device->ops->download(m->device, v, m->values, m->n * sizeof(*v), NULL), 0);
    return v;
}

/* Trains on a device, and closes it; the values that came out. */
static float *values_after(struct device *d, const char *model, double dropout,
                           const char *optimizer, struct trainer_config *config,
                           struct metrics *m, size_t *n)
{
    struct bench b;
    struct err e = {0};

    bench_open_on(&b, d, model, dropout, optimizer, 0.002, config, &e);
    if (!b.trainer)
        fail_msg("%s", e.text);
    *m = train(&b, 2);
    float *v = values_of(&b);
    *n = b.t.model->n;
    bench_close(&b);
    device_close(d);
    return v;
}

static const struct {
    const char *model, *optimizer;
    double dropout;
    struct augmentation moves;
} ways[] = {
    {"mlp", "sgd", 0.5, {0, false}},   {"mlp", "adam", 0, {0, false}},
    {"cnn", "sgd", 0, {2, true}},      {"cnn", "adamw", 0.25, {0, false}},
    {"resnet18", "sgd", 0, {1, true}},
};

/* All that an epoch needs, in training and in evaluation, is there after the first. */
static void test_epochs_take_no_more_memory(void **state)
{
    (void)state;
    struct trainer_config config = {.batch_size = 32, .seed = 5};
    struct device *d = gpu_wanted();
    struct device_memory first, last;
    struct bench b;

    assert_int_equal(d->ops->set_precision(d, PRECISION_BF16, NULL), 0);
    bench_open_on(&b, d, "cnn", 0.25, "adam", 0.002, &config, NULL);
    assert_non_null(b.trainer);
    train(&b, 1);
    d->ops->memory(d, &first);
    train(&b, 4);
    d->ops->memory(d, &last);
    assert_int_equal(last.used, first.used);
    assert_int_equal(last.peak, first.peak);
    bench_close(&b);
    device_close(d);
}

/* The GPU's sums have another order than the CPU's; its dropout and moves have not. */
static void test_a_training_is_the_cpus_to_rounding(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ways); i++) {
        struct trainer_config config = {
            .batch_size = 32, .seed = 5, .augmentation = ways[i].moves};
        struct metrics on_cpu, on_gpu;
        size_t n;
        float *want = values_after(cpu_open(2), ways[i].model, ways[i].dropout,
                                   ways[i].optimizer, &config, &on_cpu, &n);
        float *got = values_after(gpu_wanted(), ways[i].model, ways[i].dropout,
                                  ways[i].optimizer, &config, &on_gpu, &n);
        for (size_t k = 0; k < n; k++)
            if (!(fabsf(got[k] - want[k]) < 1e-3f))
                fail_msg("%s, %s: weight %zu is %g, not %g", ways[i].model,
                         ways[i].optimizer, k, (double)got[k], (double)want[k]);
        for (int k = METRIC_LOSS; k <= METRIC_VAL_LOSS; k += METRIC_VAL_LOSS)
            if (!(fabs(on_gpu.v[k] - on_cpu.v[k]) < 1e-2))
                fail_msg("%s, %s: %s is %g, not %g", ways[i].model, ways[i].optimizer,
                         metric_names[k], on_gpu.v[k], on_cpu.v[k]);
        free(want);
        free(got);
    }
}

static void test_a_training_gives_the_same_bits_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ways); i++)
        for (int p = PRECISION_FP32; p <= PRECISION_BF16; p++) {
            struct trainer_config config = {
                .batch_size = 32, .seed = 5, .augmentation = ways[i].moves};
            struct metrics m;
            size_t n;
            float *v[2];
            for (int k = 0; k < 2; k++) {
                struct device *d = gpu_wanted();
                assert_int_equal(d->ops->set_precision(d, (enum device_precision)p, NULL),
                                 0);
                v[k] = values_after(d, ways[i].model, ways[i].dropout, ways[i].optimizer,
                                    &config, &m, &n);
            }
            assert_memory_equal(v[0], v[1], n * sizeof(float));
            free(v[0]);
            free(v[1]);
        }
}

static void test_fp16_learns_with_its_loss_scaled(void **state)
{
    (void)state;
    struct loss_scale scale = loss_scale_start(true, (struct loss_scale){0});
    struct trainer_config config = {.batch_size = 32, .seed = 5, .loss_scale = &scale};
    struct device *d = gpu_wanted();
    struct bench b;

    assert_int_equal(d->ops->set_precision(d, PRECISION_FP16, NULL), 0);
    bench_open_on(&b, d, "cnn", 0, "adam", 0.002, &config, NULL);
    assert_non_null(b.trainer);
    struct metrics first = train(&b, 1), last = train(&b, 9);
    assert_true(last.v[METRIC_LOSS] < 0.7 * first.v[METRIC_LOSS]);
    assert_true(last.v[METRIC_GPU_UTIL] >= 0 && last.v[METRIC_GPU_UTIL] <= 1);
    assert_true(last.v[METRIC_GPU_MEM_USED] > 0 && last.v[METRIC_GPU_POWER] > 0);
    assert_true(last.v[METRIC_GPU_MEM_PEAK] >= last.v[METRIC_GPU_MEM_USED]);
    assert_true(last.v[METRIC_GPU_SECONDS] == last.v[METRIC_EPOCH_SECONDS]);
    assert_int_equal(b.t.optimizer->updates + scale.skipped,
                     10 * trainer_steps(TRAINING, 32));
    /* What cannot be: a step that overflows whatever the factor is left out. */
    scale = (struct loss_scale){0x1p100, 0, 0};
    train(&b, 1);
    assert_in_range(scale.skipped, 1, trainer_steps(TRAINING, 32));
    float *v = values_of(&b);
    for (size_t i = 0; i < b.t.model->n; i++)
        assert_true(isfinite(v[i]));
    free(v);
    bench_close(&b);
    device_close(d);
}

/* Without batch normalisation parts give what the whole gives, to rounding. */
static void test_with_little_memory_batches_are_cut(void **state)
{
    (void)state;
    struct str notes = STR_INIT;
    struct trainer_config config = {.batch_size = 333, .seed = 5, .notes = &notes};
    struct device *d = gpu_wanted();
    struct metrics m;
    size_t n, parts = 1;
    float *whole = values_after(gpu_wanted(), "cnn", 0, "sgd", &config, &m, &n);
    struct bench b;

    bench_open_on(&b, d, "cnn", 0, "sgd", 0.002, &config, NULL);
    assert_int_equal(notes.len, 0);
    for (size_t most = (size_t)64 * MIB; parts == 1; most = most * 3 / 4) {
        trainer_destroy(b.trainer);
        d->ops->limit(d, most);
        b.trainer = trainer_create(d, b.t.data, b.t.model, b.t.optimizer, &config, NULL);
        assert_non_null(b.trainer);
        parts = trainer_micro_batches(b.trainer);
    }
    assert_in_range(parts, 2, 32);
    assert_non_null(strstr(notes.p, "for 333 samples at once: trying fewer\n"));
    train(&b, 2);
    float *v = values_of(&b);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(v[i] - whole[i]) < 1e-3f);
    free(v);
    free(whole);
    bench_close(&b);
    device_close(d);
    str_free(&notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_of_all_sizes),
        cmocka_unit_test(test_memory_is_counted_and_limited),
        cmocka_unit_test(test_an_operation_without_memory_is_forgiven),
        cmocka_unit_test(test_steps_that_come_again_are_as_the_first),
        cmocka_unit_test(test_a_recorded_step_sees_what_was_gathered_before_it),
        cmocka_unit_test(test_activations_of_16_bits_take_less_memory),
        cmocka_unit_test(test_evaluation_keeps_no_activations),
        cmocka_unit_test(test_epochs_take_no_more_memory),
        cmocka_unit_test(test_a_training_is_the_cpus_to_rounding),
        cmocka_unit_test(test_a_training_gives_the_same_bits_again),
        cmocka_unit_test(test_fp16_learns_with_its_loss_scaled),
        cmocka_unit_test(test_with_little_memory_batches_are_cut),
    };

    return cmocka_run_group_tests_name("gpu", tests, NULL, NULL);
}
