/* What a checkpoint costs a training: how long it waits for one as large as resnet18's,
 * 11 million parameters with momentum, and how fast that comes to the disk, against as
 * many bytes from memory, written and synced as dd conv=fsync does. In the directory it
 * is started in; both take turns, and medians count. */
#include "base/clock.h"
#include "base/file.h"
#include "base/rank.h"
#include "base/mem.h"
#include "worker/train/cpu.h"
#include "worker/train/saver.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RUNS = 9, FEATURES = 3072, HIDDEN = 2130, CLASSES = 10 };

#define ROOT  "checkpoint_bench.dir"
#define PLAIN ROOT "/plain"
#define BLOCK ((size_t)1 << 20)

static double write_plain(size_t bytes)
{
    char *block = mem_alloc(BLOCK);
    double begun = clock_mono();
    int fd = open(PLAIN, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    for (size_t at = 0; at < bytes; at += BLOCK)
        if (write(fd, block, BLOCK) != (ssize_t)BLOCK)
            perror(PLAIN);
    if (fsync(fd) < 0)
        perror(PLAIN);
    close(fd);
    free(block);
    return clock_mono() - begun;
}

int main(void)
{
    struct device *d = cpu_open(1);
    struct data *data = mem_alloc(sizeof(*data));
    struct checkpoint_dir dir = {ROOT, false};
    struct training t = {.model_kind = "mlp", .data = data};
    double first = 0, stall[RUNS], rate[RUNS];
    struct err e = {0};
    struct stat st = {0};

    data->train.features = FEATURES;
    data->train.bytes = data->test.bytes = (struct str)STR_INIT;
    data->mean = mem_alloc(FEATURES * sizeof(float));
    data->scale = mem_alloc(FEATURES * sizeof(float));
    t.model = model_create(
        d,
        &(struct model_config){
            "mlp", {1, 1, FEATURES}, CLASSES, (const size_t[]){HIDDEN, HIDDEN}, 2, 1, 0},
        NULL);
    t.optimizer = optimizer_create(
        d, &(struct optimizer_config){"sgd", 0.1, 0.9, 0, false}, t.model->n, NULL);
    optimizer_step(t.optimizer, t.model->values, t.model->gradients);
    struct saver *s = saver_open(&dir, &t);
    /* The first copy is into memory that is new, as it is once in a training: after an
     * epoch, which takes longer than this. */
    for (double begun = clock_mono(); clock_mono() < begun + 1;)
        optimizer_step(t.optimizer, t.model->values, t.model->gradients);
    for (int i = -1; i < RUNS && !e.code; i++) {
        int64_t step;
        double begun = clock_mono();
        saver_begin(s, &e);
        double stalled = clock_mono() - begun;
        saver_collect(s, true, &step, &e);
        stat(ROOT "/" CHECKPOINT_NAME, &st);
        double plain = write_plain((size_t)st.st_size);
        if (i < 0) {
            first = stalled;
            continue;
        }
        stall[i] = stalled;
        rate[i] = plain / (saver_seconds(s) - stalled);
    }
    if (e.code)
        fprintf(stderr, "%s\n", e.text);
    else
        printf(
            "%.0f ms\t< 50 ms\ta training waits for a checkpoint of %.0f MB; median of "
            "%d\n"
            "%.0f ms\t< 50 ms\tfor the first one, a second after the training began; "
            "once\n"
            "%.0f %%\t>= 70 %%\tof the rate of write and fsync of as many bytes, from a "
            "training's copy to the disk; median of %d in turns\n",
            1e3 * median(stall, RUNS), 1e-6 * (double)st.st_size, RUNS, 1e3 * first,
            100 * median(rate, RUNS), RUNS);
    saver_close(s);
    model_destroy(t.model);
    optimizer_destroy(t.optimizer);
    data_close(data);
    device_close(d);
    return e.code || dir_remove(ROOT, &e) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
