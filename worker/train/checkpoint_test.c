#include "worker/train/checkpoint.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/tensors.h"
#include "worker/train/cpu.h"
#include "worker/train/saver.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT     "checkpoint_test.dir"
#define NEWEST   ROOT "/" CHECKPOINT_NAME
#define PREVIOUS ROOT "/" CHECKPOINT_PREVIOUS
#define MEGA     ((size_t)1 << 20)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* HDF5 itself loses memory where it meets damage. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

static struct device *device;

static int setup(void **state)
{
    (void)state;
    device = cpu_open(1);
    return dir_remove(ROOT, NULL);
}

static int teardown(void **state)
{
    (void)state;
    device_close(device);
    return dir_remove(ROOT, NULL);
}

static const struct setting settings[] = {
    {"batch_size", SETTING_INT, 64, 0, NULL},
    {"lr", SETTING_NUM, 0, 0.125, NULL},
    {"hidden", SETTING_TEXT, 0, 0, "6,4"},
};

enum { FEATURES = 5, CLASSES = 3 };

/* A training with numbers that depend on `which`, everywhere. */
static void training_make(struct training *t, const char *optimizer, double momentum,
                          size_t hidden, uint32_t which)
{
    *t = (struct training){.model_kind = "mlp",
                           .seed = UINT64_MAX - which,
                           .settings = settings,
                           .n_settings = COUNT(settings)};
    t->data = mem_alloc(sizeof(*t->data));
    t->data->train.features = FEATURES;
    t->data->train.bytes = t->data->test.bytes = (struct str)STR_INIT;
    t->data->mean = mem_alloc(FEATURES * sizeof(float));
    t->data->scale = mem_alloc(FEATURES * sizeof(float));
    for (uint32_t i = 0; i < FEATURES; i++)
        t->data->mean[i] = t->data->scale[i] = (float)(i + which);
    t->model = model_create(
        device,
        &(struct model_config){
            "mlp", {1, 1, FEATURES}, CLASSES, (const size_t[]){hidden}, 1, which, 0},
        NULL);
    t->optimizer = optimizer_create(
        device, &(struct optimizer_config){optimizer, 0.1, momentum, 0, false},
        t->model->n, NULL);
    float *g = mem_alloc(t->model->n * sizeof(*g));
    for (uint32_t i = 0; i < which; i++) {
        for (uint32_t k = 0; k < t->model->layers[0].parameters[0].count; k++)
            g[k] = (float)rng_unit(which, RNG_TEST, i, k, 0);
        optimizer_step(t->optimizer, t->model->values, g);
        vec_push(&t->history,
                 ((struct epoch_record){(int32_t)i + 1, {{0.5, 1e-300, i}}}));
    }
    free(g);
    t->progress = (struct progress){
        which, which, 1000 * (int64_t)which, {1024, 5, which}, 10 * which};
}

static void training_free(struct training *t)
{
    data_close(t->data);
    model_destroy(t->model);
    optimizer_destroy(t->optimizer);
    vec_free(&t->history);
}

static void assert_same(const struct training *a, const struct training *b)
{
    size_t bytes = a->model->n * sizeof(float);

    assert_memory_equal(a->model->values, b->model->values, bytes);
    for (int i = 0; i < a->optimizer->n_slots; i++)
        assert_memory_equal(a->optimizer->slots[i], b->optimizer->slots[i], bytes);
    assert_int_equal(a->optimizer->updates, b->optimizer->updates);
    assert_memory_equal(a->data->mean, b->data->mean, FEATURES * sizeof(float));
    assert_memory_equal(a->data->scale, b->data->scale, FEATURES * sizeof(float));
    assert_memory_equal(&a->progress, &b->progress, sizeof(a->progress));
    assert_int_equal(a->history.n, b->history.n);
    for (size_t i = 0; i < a->history.n; i++) {
        assert_int_equal(a->history.v[i].step, b->history.v[i].step);
        assert_memory_equal(&a->history.v[i].metrics, &b->history.v[i].metrics,
                            sizeof(struct metrics));
    }
}

static void save(struct checkpoint_dir *dir, const struct training *t)
{
    struct err e = {0};

    if (checkpoint_save(dir, t, &e) < 0)
        fail_msg("%s", e.text);
}

/* Leaves a checkpoint of step 2, and with `newest` one of that step before it. */
static void save_steps(uint32_t previous, uint32_t newest)
{
    struct checkpoint_dir dir = {ROOT, false};
    const uint32_t steps[] = {previous, newest};

    assert_int_equal(dir_remove(ROOT, NULL), 0);
    for (size_t i = 0; i < COUNT(steps); i++) {
        struct training t;
        if (!steps[i])
            continue;
        training_make(&t, "adam", 0, 6, steps[i]);
        save(&dir, &t);
        training_free(&t);
    }
}

static void damage(const char *path)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\0\0\0\0", 4, 300), 4);
    close(fd);
}

/* ---- what is not there, damaged or another's ---- */

static void test_load_by_what_is_there(void **state)
{
    (void)state;
    static const struct {
        uint32_t previous, newest; /* steps saved; 0: none */
        bool damaged, previous_damaged;
        int step;         /* wanted; -1: the newest */
        int got;          /* the step loaded, or an error */
        const char *text; /* of the error, or of the notes */
    } vectors[] = {
        {0, 0, false, false, -1, ERR_NOENT, "no whole checkpoint is there"},
        {0, 0, false, false, 3, ERR_NOENT, "no checkpoint of step 3 is there"},
        {0, 2, false, false, 3, ERR_INVAL, CHECKPOINT_NAME " holds step 2"},
        {4, 5, false, false, 3, ERR_INVAL,
         CHECKPOINT_NAME " holds step 5; " PREVIOUS " holds step 4"},
        {1, 2, false, false, 3, ERR_INVAL, "holds step 2"},
        {0, 2, true, false, -1, ERR_CORRUPT, NEWEST},
        {0, 2, true, false, 2, ERR_CORRUPT, NEWEST},
        {1, 2, true, true, -1, ERR_CORRUPT, PREVIOUS},
        {3, 4, true, false, 2, ERR_CORRUPT, PREVIOUS " holds step 3"},
        {0, 2, false, false, -1, 2, ""},
        {0, 2, false, false, 2, 2, ""},
        {1, 2, false, false, 1, 1, ""},
        {1, 2, true, false, -1, 1, PREVIOUS ", step 1"},
        {1, 2, true, false, 2, 1, NEWEST},
        {1, 2, true, false, 1, 1, PREVIOUS ", step 1"},
        {1, 2, false, true, 2, 2, ""},
    };

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct checkpoint_dir dir = {ROOT, false};
        struct training t, want;
        struct str notes = STR_INIT;
        struct err e = {0};
        save_steps(vectors[i].previous, vectors[i].newest);
        if (vectors[i].damaged)
            damage(NEWEST);
        if (vectors[i].previous_damaged)
            damage(PREVIOUS);
        training_make(&t, "adam", 0, 6, 9);
        training_make(&want, "adam", 0, 6,
                      vectors[i].got < 0 ? 9 : (uint32_t)vectors[i].got);
        int rc = checkpoint_load(&dir, vectors[i].step, &t, &notes, &e);
        if (rc != (vectors[i].got < 0 ? vectors[i].got : 0))
            fail_msg("case %zu: %s (%s)", i, err_name(rc), e.text);
        if (!strstr(rc < 0 ? e.text : notes.p, vectors[i].text))
            fail_msg("case %zu: '%s'", i, rc < 0 ? e.text : notes.p);
        assert_int_equal(notes.len > 0, rc == 0 && *vectors[i].text);
        assert_same(&t, &want);
        str_free(&notes);
        training_free(&t);
        training_free(&want);
    }
}

static void test_load_refuses_another_model(void **state)
{
    (void)state;
    static const struct {
        const char *optimizer;
        size_t hidden;
        const char *text;
    } vectors[] = {
        {"adam", 7, "it is of layers 5-6-3, not 5-7-3"},
        {"sgd", 6, "it is of optimizer adam, not sgd"},
        {"adamw", 6, "it is of optimizer adam, not adamw"},
    };

    save_steps(1, 2);
    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct checkpoint_dir dir = {ROOT, false};
        struct str notes = STR_INIT;
        struct training t;
        struct err e = {0};
        training_make(&t, vectors[i].optimizer, 0.9, vectors[i].hidden, 1);
        assert_int_equal(checkpoint_load(&dir, -1, &t, &notes, &e), ERR_INVAL);
        assert_non_null(strstr(e.text, vectors[i].text));
        assert_int_equal(notes.len, 0);
        training_free(&t);
    }
}

/* Any byte: the previous one is taken then. (/rng is for people; nothing is loaded from
 * it, so damage there is not met.) */
static void test_a_flipped_byte_is_found_where_it_matters(void **state)
{
    (void)state;
    struct str whole = STR_INIT;
    struct training previous, newest, t;
    size_t found = 0, tried = 0;

    save_steps(1, 2);
    assert_int_equal(file_read(NEWEST, MEGA, &whole, NULL), 0);
    training_make(&previous, "adam", 0, 6, 1);
    training_make(&newest, "adam", 0, 6, 2);
    training_make(&t, "adam", 0, 6, 9);
    for (size_t i = 0; i < whole.len; i += 3, tried++) {
        struct checkpoint_dir dir = {ROOT, false};
        struct str notes = STR_INIT;
        struct err e = {0};
        int fd = open(NEWEST, O_WRONLY);
        assert_true(fd >= 0);
        whole.p[i] ^= 1;
        assert_int_equal(pwrite(fd, &whole.p[i], 1, (off_t)i), 1);
        whole.p[i] ^= 1;
        if (checkpoint_load(&dir, -1, &t, &notes, &e) < 0)
            fail_msg("byte %zu: %s", i, e.text);
        assert_same(&t, notes.len ? &previous : &newest);
        found += notes.len > 0;
        assert_int_equal(pwrite(fd, &whole.p[i], 1, (off_t)i), 1);
        close(fd);
        str_free(&notes);
    }
    assert_true(found > tried * 9 / 10);
    training_free(&previous);
    training_free(&newest);
    training_free(&t);
    str_free(&whole);
}

/* ---- saving ---- */

static void test_round_trip(void **state)
{
    (void)state;
    static const struct {
        const char *optimizer;
        double momentum;
    } vectors[] = {{"sgd", 0}, {"sgd", 0.9}, {"adam", 0}, {"adamw", 0}};

    for (size_t i = 0; i < COUNT(vectors); i++) {
        struct checkpoint_dir dir = {ROOT, false};
        struct str notes = STR_INIT;
        struct training a, b;
        assert_int_equal(dir_remove(ROOT, NULL), 0);
        training_make(&a, vectors[i].optimizer, vectors[i].momentum, 6, 5);
        training_make(&b, vectors[i].optimizer, vectors[i].momentum, 6, 2);
        save(&dir, &a);
        assert_int_equal(checkpoint_load(&dir, 5, &b, &notes, NULL), 0);
        assert_int_equal(notes.len, 0);
        assert_same(&a, &b);
        training_free(&a);
        training_free(&b);
    }
}

/* Momentum may be switched on and off on the way. */
static void test_momentum_may_come_and_go(void **state)
{
    (void)state;
    struct checkpoint_dir dir = {ROOT, false};
    struct str notes = STR_INIT;
    struct training with, without, fresh;

    assert_int_equal(dir_remove(ROOT, NULL), 0);
    training_make(&with, "sgd", 0.9, 6, 3);
    training_make(&without, "sgd", 0, 6, 1);
    training_make(&fresh, "sgd", 0.9, 6, 1);
    save(&dir, &with);
    assert_int_equal(checkpoint_load(&dir, -1, &without, &notes, NULL), 0);
    assert_same(&without, &with);
    save(&dir, &without);
    assert_int_equal(checkpoint_load(&dir, -1, &fresh, &notes, NULL), 0);
    for (size_t i = 0; i < fresh.model->n; i++)
        assert_true(fresh.optimizer->slots[0][i] == 0);
    assert_memory_equal(fresh.model->values, with.model->values,
                        with.model->n * sizeof(float));
    training_free(&with);
    training_free(&without);
    training_free(&fresh);
}

static void test_one_file_says_what_it_is(void **state)
{
    (void)state;
    struct tensors *t;
    struct tensor_info info;
    int64_t i;
    double r;
    char *text;

    save_steps(0, 2);
    assert_int_equal(tensors_open(NEWEST, &t, NULL), 0);
    assert_int_equal(tensors_get_text(t, "/", "layers", &text, NULL), 0);
    assert_string_equal(text, "5-6-3");
    free(text);
    assert_int_equal(tensors_get_text(t, "/", "hidden", &text, NULL), 0);
    assert_string_equal(text, "6,4");
    free(text);
    assert_int_equal(tensors_get_int(t, "/", "batch_size", &i, NULL), 0);
    assert_int_equal(i, 64);
    assert_int_equal(tensors_get_num(t, "/", "lr", &r, NULL), 0);
    assert_true(r == 0.125);
    assert_int_equal(tensors_get_text(t, "/rng", "seed", &text, NULL), 0);
    assert_string_equal(text, "18446744073709551613");
    free(text);
    assert_int_equal(tensors_get_int(t, "/progress", "samples", &i, NULL), 0);
    assert_int_equal(i, 2000);
    assert_int_equal(tensors_info(t, "/model/dense1/weight", &info, NULL), 0);
    assert_true(info.ndim == 2 && info.dim[0] == 6 && info.dim[1] == FEATURES);
    assert_int_equal(tensors_info(t, "/optimizer/dense2/bias/v", &info, NULL), 0);
    assert_true(info.ndim == 1 && info.dim[0] == CLASSES);
    assert_int_equal(tensors_info(t, "/metrics", &info, NULL), 0);
    assert_true(info.type == TENSOR_TABLE && info.count == 2);
    tensors_close(t);
}

static void test_the_previous_one_stays(void **state)
{
    (void)state;
    struct checkpoint_dir dir = {ROOT, false};
    struct str first = STR_INIT, kept = STR_INIT;
    struct training t;

    assert_int_equal(dir_remove(ROOT, NULL), 0);
    training_make(&t, "sgd", 0.9, 6, 1);
    save(&dir, &t);
    assert_int_equal(access(PREVIOUS, F_OK), -1);
    assert_int_equal(file_read(NEWEST, MEGA, &first, NULL), 0);
    t.progress.step = 2;
    save(&dir, &t);
    assert_int_equal(file_read(PREVIOUS, MEGA, &kept, NULL), 0);
    assert_int_equal(first.len, kept.len);
    assert_memory_equal(first.p, kept.p, first.len);
    str_free(&first);
    str_free(&kept);
    training_free(&t);
}

/* Going on from the previous one because the newest is damaged: what is damaged must
 * not take its place. */
static void test_damage_is_not_kept(void **state)
{
    (void)state;
    struct checkpoint_dir dir = {ROOT, false};
    struct str notes = STR_INIT;
    struct training t;

    save_steps(1, 2);
    damage(NEWEST);
    training_make(&t, "adam", 0, 6, 9);
    assert_int_equal(checkpoint_load(&dir, 2, &t, &notes, NULL), 0);
    t.progress.step = 2;
    save(&dir, &t);
    dir.newest_ours = false;
    damage(NEWEST);
    assert_int_equal(checkpoint_load(&dir, 1, &t, &notes, NULL), 0);
    assert_int_equal(t.progress.step, 1);
    str_free(&notes);
    training_free(&t);
}

/* A disk with too little room, by the limit on a file's size. */
static void test_a_full_disk_leaves_what_was_there(void **state)
{
    (void)state;
    struct checkpoint_dir dir = {ROOT, false};
    struct rlimit kept, small;
    struct str notes = STR_INIT;
    struct training t, b;
    struct err e = {0};

    assert_int_equal(dir_remove(ROOT, NULL), 0);
    training_make(&t, "adam", 0, 6, 1);
    training_make(&b, "adam", 0, 6, 4);
    save(&dir, &t);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    small = kept;
    small.rlim_cur = 512;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = checkpoint_save(&dir, &b, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
    assert_true(rc < 0);
    assert_non_null(strstr(e.text, NEWEST));
    assert_int_equal(checkpoint_load(&dir, 1, &b, &notes, NULL), 0);
    assert_int_equal(notes.len, 0);
    assert_same(&t, &b);
    training_free(&t);
    training_free(&b);
}

static void test_a_directory_that_cannot_be_is_named(void **state)
{
    (void)state;
    struct checkpoint_dir dir = {ROOT "/file/below", false};
    struct training t;
    struct err e = {0};

    assert_int_equal(dir_make(ROOT, 0777, NULL), 0);
    assert_int_equal(file_write(ROOT "/file", "x", 1, 0666, NULL), 0);
    training_make(&t, "sgd", 0, 6, 1);
    assert_true(checkpoint_save(&dir, &t, &e) < 0);
    assert_non_null(strstr(e.text, ROOT "/file"));
    training_free(&t);
}

/* Two that can be told apart, written while the training goes on. */
static void test_training_goes_on_meanwhile(void **state)
{
    (void)state;
    struct checkpoint_dir dir = {ROOT, false};
    struct training t, want, got;
    struct str notes = STR_INIT;
    struct err e = {0};
    int64_t step = 0;

    assert_int_equal(dir_remove(ROOT, NULL), 0);
    training_make(&want, "adam", 0, 6, 3);
    training_make(&t, "adam", 0, 6, 3);
    training_make(&got, "adam", 0, 6, 1);
    struct saver *s = saver_open(&dir, &t);
    assert_false(saver_busy(s));
    assert_int_equal(saver_collect(s, true, &step, &e), 0);
    assert_int_equal(saver_begin(s, &e), 0);
    /* What the training does from here on is not in it. */
    memset(t.model->values, 0, t.model->n * sizeof(float));
    memset(t.optimizer->slots[0], 0, t.model->n * sizeof(float));
    t.data->mean[0] = -1;
    t.optimizer->updates = t.progress.step = t.progress.epoch = 9;
    vec_push(&t.history, ((struct epoch_record){9, {{9}}}));
    assert_true(saver_busy(s));
    assert_int_equal(saver_collect(s, true, &step, &e), 1);
    assert_int_equal(step, 3);
    assert_false(saver_busy(s));
    assert_int_equal(saver_collect(s, true, &step, &e), 0);
    assert_int_equal(checkpoint_load(&dir, 3, &got, &notes, NULL), 0);
    assert_same(&want, &got);
    /* The next one, which nobody collects, and one more before that is done. */
    assert_int_equal(saver_begin(s, &e), 0);
    t.progress.step = 10;
    assert_int_equal(saver_begin(s, &e), 0);
    saver_close(s);
    assert_int_equal(checkpoint_load(&dir, 10, &got, &notes, NULL), 0);
    assert_int_equal(got.history.n, 4);
    assert_int_equal(checkpoint_load(&dir, 9, &got, &notes, NULL), 0);
    assert_int_equal(notes.len, 0);
    training_free(&t);
    training_free(&want);
    training_free(&got);
}

static void test_a_failure_is_told_later(void **state)
{
    (void)state;
    struct checkpoint_dir dir = {ROOT "/file/below", false};
    struct training t;
    struct err e = {0};
    int64_t step;

    assert_int_equal(dir_remove(ROOT, NULL), 0);
    assert_int_equal(dir_make(ROOT, 0777, NULL), 0);
    assert_int_equal(file_write(ROOT "/file", "x", 1, 0666, NULL), 0);
    training_make(&t, "sgd", 0, 6, 1);
    struct saver *s = saver_open(&dir, &t);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(saver_begin(s, &e), 0);
        assert_true(saver_collect(s, true, &step, &e) < 0);
        assert_non_null(strstr(e.text, ROOT "/file"));
    }
    assert_int_equal(saver_begin(s, &e), 0);
    assert_true(saver_begin(s, &e) < 0);
    saver_close(s);
    training_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_by_what_is_there),
        cmocka_unit_test(test_load_refuses_another_model),
        cmocka_unit_test(test_a_flipped_byte_is_found_where_it_matters),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_momentum_may_come_and_go),
        cmocka_unit_test(test_one_file_says_what_it_is),
        cmocka_unit_test(test_the_previous_one_stays),
        cmocka_unit_test(test_damage_is_not_kept),
        cmocka_unit_test(test_a_full_disk_leaves_what_was_there),
        cmocka_unit_test(test_a_directory_that_cannot_be_is_named),
        cmocka_unit_test(test_training_goes_on_meanwhile),
        cmocka_unit_test(test_a_failure_is_told_later),
    };

    return cmocka_run_group_tests_name("checkpoint", tests, setup, teardown);
}
