/* Labelled samples: what rung-train can read, and how a data set is divided.
 *
 * Samples stay in memory as they are stored, bytes or float32; the device turns those
 * of a batch into normalised floats as it gathers them. */
#ifndef WORKER_TRAIN_DATA_H
#define WORKER_TRAIN_DATA_H

#include "gpu/device.h"

#include "base/str.h"

struct comm;

#define SAMPLE_DIMS 7
#define CLASSES_MAX 65536

/* Samples as read from one place. */
struct samples {
    char *name; /* for messages */
    size_t n;
    int ndim; /* the shape of one sample: [dim[0]]...[dim[ndim-1]] */
    size_t dim[SAMPLE_DIMS];
    size_t features; /* the product of dim */
    size_t classes;  /* that there are, whichever labels occur; 0: nothing says so */
    enum sample_type type;
    const void *x; /* the first sample, inside one of the two owners, or data.shared */
    size_t stride; /* bytes from one to the next */
    int32_t *y;    /* [n], 0 and more */
    struct str bytes;
    float *floats;
};

/* What one sample is as an image. Two axes are [h][w]; of three the first counts the
 * channels, *planar, if it is not longer than the last, else the last does. Anything
 * else is no image: 1 by 1 with a channel a number. */
struct image samples_image(const struct samples *s, bool *planar);

/* The shape of one, like 32x32x3. */
void samples_shape(const struct samples *s, struct str *out);

/* From x to the end of the last sample. */
size_t samples_bytes(const struct samples *s);

void samples_free(struct samples *s); /* an empty one is fine */

/* ---- formats; on failure *s is empty ---- */

/* MNIST's idx: images (type 0x08, 1 to 7 dimensions a sample) and labels, each plain or
 * gzipped. ERR_CORRUPT: wrong magic or shape, cut short, bytes left over, or another
 * number of labels than of images. */
int samples_read_idx(const char *images, const char *labels, struct samples *s,
                     struct err *e);
enum cifar {
    CIFAR_10,  /* records of a label from 0 to 9, then [3][32][32] */
    CIFAR_100, /* of a coarse label from 0 to 19, a fine one from 0 to 99, which is the
                  class, then the same */
};
/* CIFAR's binary files one after another. ERR_CORRUPT: no whole number of records, or a
 * label that cannot be. */
int samples_read_cifar(enum cifar kind, char *const paths[], size_t n, struct samples *s,
                       struct err *e);
/* HDF5: X, of any shape whose first axis numbers the samples, and y, whole numbers from
 * 0, [n] or [n][1]; and, if one of them is there, X_test and y_test, else test is empty.
 */
int samples_read_hdf5(const char *path, struct samples *train, struct samples *test,
                      struct err *e);

#define SAMPLES_SYNTHETIC "synthetic"
/* No file: "synthetic:32x32x3,samples=50000,classes=10" makes samples of that shape, at
 * most 7 dimensions, that a model can learn from; 10000 of 10 classes unless said, as
 * many of each class. The same text gives the same samples everywhere; with fewer, the
 * first of them. */
int samples_synthesize(const char *source, struct samples *s, struct err *e);

/* ERR_RANGE where this machine has not so much memory: a few bytes may claim any size,
 * so look before asking for it. */
int samples_fit_memory(const char *name, double bytes, struct err *e);

/* ---- data sets ---- */

struct data_config {
    const char *source;  /* "fashion-mnist", "synthetic:...", a directory, an HDF5 file */
    size_t limit;        /* use this many samples of each part; 0: all */
    double val_fraction; /* of samples that validate where there is no test part;
                            NaN: a tenth */
};

/* Samples that training or validation uses: those that index names. */
struct part {
    const struct samples *samples;
    uint32_t *index;
    size_t n;
};

struct data {
    struct samples train, test; /* test.n is 0 where there is no test part */
    struct part training, validation;
    size_t classes;
    float *mean, *scale; /* [features]: training sees (x - mean) * scale */
    const void *shared;  /* where x and y of both lie if other processes have them, too */
    size_t shared_bytes;
};

/* Reads, checks and divides a data set. Which samples validate and which a limit
 * leaves out depends on their number alone, not on a seed, so that trials can be
 * compared. NULL on failure. */
struct data *data_open(const struct data_config *config, struct err *e);
/* The same for ranks, all at once, with the same result on all: those of one node have
 * one copy of the samples, which one of them has read, if the system lets them. */
struct data *data_open_shared(const struct data_config *config, struct comm *c,
                              struct err *e);
void data_close(struct data *d); /* NULL is fine */

/* What must be the same on all ranks of a training, for alike_check(): reads all of it.
 */
void data_alike(const struct data *d, struct str *out);

/* Sets mean and scale so that the training samples have mean 0 and deviation 1. A
 * table, one number a feature, is measured by feature; an image with channels by channel;
 * any other sample as
 * a whole. What does not vary keeps the scale 1. */
void data_measure(struct data *d);

#endif
