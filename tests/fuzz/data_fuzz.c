/* Data sets in idx and CIFAR files, plain or gzipped: read or refused. Of what was read
 * every sample and label can be touched, and its parts are parts of it.
 *
 * The first byte tells the format, the next two the length of the first file; the second
 * is the rest. */
#include "base/file.h"
#include "tests/fuzz/fuzz.h"
#include "worker/train/data.h"

#include <math.h>
#include <stdlib.h>

static void touch(const struct samples *s, unsigned char *sum)
{
    for (size_t i = 0; i < s->n; i++) {
        const unsigned char *x = (const unsigned char *)s->x + i * s->stride;
        size_t bytes = s->features * (s->type == SAMPLE_U8 ? 1 : sizeof(float));

        for (size_t b = 0; b < bytes; b++)
            *sum ^= x[b];
        FUZZ_CHECK(s->y[i] >= 0 && s->y[i] < CLASSES_MAX);
    }
}

static void check_part(const struct part *p)
{
    for (size_t i = 0; i < p->n; i++)
        FUZZ_CHECK(p->index[i] < p->samples->n);
}

static void open_all(size_t limit)
{
    struct data_config c = {.source = fuzz_dir(), .limit = limit, .val_fraction = NAN};
    struct err e = {0};
    struct data *d = data_open(&c, &e);
    unsigned char sum = 0;

    FUZZ_CHECK(d || *e.text);
    if (!d)
        return;
    touch(&d->train, &sum);
    touch(&d->test, &sum);
    check_part(&d->training);
    check_part(&d->validation);
    FUZZ_CHECK(d->classes > 0 && d->training.n > 0);
    data_measure(d);
    for (size_t i = 0; i < d->train.features; i++)
        FUZZ_CHECK(isfinite(d->mean[i]) && isfinite(d->scale[i]));
    data_close(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const names[][2] = {
        {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
        {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"},
        {"data_batch_1.bin", "test_batch.bin"},
        {"train.bin", "test.bin"},
    };
    size_t which, first;

    if (n < 3)
        return 0;
    which = data[0] % (sizeof(names) / sizeof(names[0]));
    first = (size_t)data[1] << 8 | data[2];
    data += 3;
    n -= 3;
    first = first < n ? first : n;
    FUZZ_CHECK(dir_remove(fuzz_dir(), NULL) == 0 &&
               dir_make(fuzz_dir(), 0700, NULL) == 0);
    fuzz_file(names[which][0], data, first);
    fuzz_file(names[which][1], data + first, n - first);
    open_all(0);
    open_all(2);
    return 0;
}
