/* The device interface: one table of operations on arrays, which the CPU and
 * accelerators implement. Model, optimiser and loop call these and know no device.
 *
 * Arrays are row-major and dense; [rows][cols] gives a shape. Pointers to them belong to
 * the device and are not read by anyone else. Two kinds: parameters, their gradients and
 * all that is kept of them are float32, float *. Activations, which go through a model,
 * samples first, and gradients with respect to them, are void *: numbers of
 * device->width bytes, float32 or, where a device keeps them in 16 bits, these. Memory of
 * a device that is not the host's begins at multiples of 16 bytes, and so do its arrays.
 *
 * Operations are queued in order and return at once; they cannot fail on the spot: the
 * first failure sticks, and download(), which waits for all that was queued, returns it.
 *
 * With the same number of threads an operation gives the same bits each time: sums
 * run in a fixed order. */
#ifndef GPU_DEVICE_H
#define GPU_DEVICE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum device_activation {
    ACTIVATION_NONE,
    ACTIVATION_RELU, /* max(0, x) */
};

/* What the inputs of products and convolutions are rounded to. In 16 bits some devices
 * keep activations so, and what gives them rounds them. All else is fp32: parameters,
 * and the sums in every operation. */
enum device_precision {
    PRECISION_FP32,
    PRECISION_TF32, /* 11 bits of significand, the exponents of fp32 */
    PRECISION_BF16, /* 8 bits of significand, the exponents of fp32 */
    PRECISION_FP16, /* 11 bits of significand; up to 65504, and from 2^-24 */
};

/* How samples are stored. */
enum sample_type {
    SAMPLE_U8,
    SAMPLE_F32,
};

/* c = act(op(a) op(b) + bias), op(a) being [m][k] and op(b) [k][n]: a is stored
 * [k][m] if a_transposed, b is stored [n][k] if b_transposed. a is an activation. With
 * weight_gradient b is one, too, and c is a parameter's gradient; else b is a parameter,
 * and c an activation. */
struct device_gemm {
    bool a_transposed, b_transposed;
    size_t m, n, k;
    const void *a, *b;
    void *c;           /* [m][n] */
    const float *bias; /* [n]; NULL for neither bias nor activation */
    enum device_activation activation;
    bool weight_gradient;
};

/* [h][w][c]; what is no image is one of 1 by 1. */
struct image {
    size_t h, w, c;
};

static inline size_t image_size(struct image i)
{
    return i.h * i.w * i.c;
}

/* What slides over an image: size by size numbers, each `stride` beside the one before,
 * and `pad` rows and columns of nothing around the image. */
struct window {
    size_t size, stride, pad;
};

/* A window that slides over images x [rows][in] and makes y [rows][out] of them. */
struct device_slide {
    size_t rows;
    struct image in, out; /* out.h and out.w are what window_steps() says */
    struct window window;
};

/* Batch normalisation (Ioffe and Szegedy 2015) of x [n][channels]: n counts the rows
 * and, of images, their places. Of each channel, y = act((x - mean) * rstd * weight +
 * bias), with rstd = 1 / sqrt(variance + epsilon). */
struct device_batch_norm {
    size_t n, channels;
    float epsilon, momentum;
    enum device_activation activation;
    const float *weight, *bias;        /* [channels] */
    float *running_mean, *running_var; /* [channels] */
    float *mean, *rstd;                /* [channels], of the batch; only in training */
};

/* Dropout (Srivastava et al. 2014) of numbers [rows][cols]: each is kept with chance
 * keep / DROPOUT_ALL. Number c of row r is kept if it draws less than `keep`: the c % 8th
 * lowest 16 bits of rng_u128(seed, RNG_TRAIN, row + r, c / 8, DROPOUT_DRAW), see
 * base/rng.h. */
struct device_dropout {
    size_t rows, cols;
    uint64_t seed; /* of these draws alone */
    size_t row;    /* the number that the first row has */
    uint32_t keep; /* from 1 */
};
#define DROPOUT_ALL  65536
#define DROPOUT_DRAW 9

/* Moves an image: its place (y, x) is taken from (y + dy, x + dx), and with flip from
 * (y + dy, w - 1 - x + dx); what comes from outside is 0. */
struct device_move {
    int32_t dy, dx;
    bool flip;
};

/* out[r][f] = (x[index[r]][f] - mean[f]) * scale[f], then moved; with planes > 1, x being
 * stored [planes][features / planes], the planes come last in out. */
struct device_gather {
    const void *x;
    enum sample_type type;
    size_t stride; /* bytes from one sample to the next */
    size_t features;
    const uint32_t *index;     /* [rows] */
    const float *mean, *scale; /* [features], as stored */
    size_t planes;
    const struct device_move *moves; /* [rows]; NULL: none */
    struct image image; /* with moves: a sample is one or more of these, as stored */
};

/* Sums over the samples seen since it was last set to zero. */
struct device_totals {
    double loss;
    double correct;
};

struct device_sgd {
    float lr, momentum, weight_decay;
    bool nesterov; /* only with momentum */
};

struct device_adam {
    float beta1, beta2, epsilon, weight_decay;
    float step;  /* lr / (1 - beta1^t) */
    float scale; /* 1 / sqrt(1 - beta2^t) */
    float keep;  /* 1 for adam; adamw: 1 - lr * its own weight decay */
};

/* Bytes that allocate() has given out: now, and the most at once. */
struct device_memory {
    size_t used, peak;
};

/* What a GPU does, as its driver tells. NaN: it does not. */
struct device_usage {
    double util;     /* mean share of the time in which it computed, 0 to 1 */
    double mem_used; /* bytes, of all processes */
    double mem_peak; /* the most that was seen */
    double power;    /* mean, W */
};

struct device {
    const struct device_ops *ops;
    size_t width;    /* of a number of activations, in bytes: 4, or 2 */
    size_t launches; /* of recorded steps as a whole; where nothing is recorded 0 */
    /* an implementation's own follows */
};

/* By which those who make up a group know it. */
struct device_group_id {
    char bytes[128];
};

/* The ranks of a training, whose devices give each other arrays without the host. */
struct device_group {
    int rank, size;
    struct device_group_id id; /* which one of them has made */
    double seconds;            /* that they have to come together */
    /* Told, by a thread of the device's own, that it has broken: what was under way has
     * no sensible end, and download() fails from then on. As a rule it ends the process.
     */
    void (*broken)(void *arg, const char *text);
    void *arg;
};

/* What devices of a group do together. Each rank calls these in the same order. Like
 * other operations they are queued, and download() says what failed. What waits for a
 * rank that has died waits for ever, or until abandon(). */
struct device_group_ops {
    /* Whether there is what it takes, and its name, "NCCL 2.28.9". ERR_UNSUPPORTED. */
    int (*find)(struct device *d, char *name, size_t size, struct err *e);
    int (*make_id)(struct device *d, struct device_group_id *id, struct err *e);
    /* ERR_TIMEOUT where others did not come. On failure nothing is left of it here. */
    int (*join)(struct device *d, const struct device_group *g, struct err *e);
    /* All at once; or after abandon(). Of one that has not joined: nothing happens. */
    void (*leave)(struct device *d);
    /* What is under way is given up, and download() fails from now on. From any thread,
     * while another calls these; returns within seconds. */
    void (*abandon)(struct device *d);

    /* x [n] becomes its mean over the ranks, with the same bits on each. It begins when
     * what was queued before is done, and goes on beside what is queued after it, until
     * mean_wait(): what follows that sees it. Before, nobody touches x. */
    void (*mean)(struct device *d, float *x, size_t n);
    void (*mean_wait)(struct device *d);
    /* x stays as it is until sent(): what follows that may change it. Another send(), and
     * receive(), have sent() in them. Ranks that send to each other both send, and then
     * receive. */
    void (*send)(struct device *d, int to, const float *x, size_t n);
    void (*sent)(struct device *d);
    void (*receive)(struct device *d, int from, float *x, size_t n);
};

struct device_ops {
    bool on_host;                         /* its memory is the host's */
    const struct device_group_ops *group; /* NULL: arrays go through the host alone */
    void (*close)(struct device *d);
    /* "cpu, 2 threads (oneDNN)" into text. */
    void (*describe)(const struct device *d, char *text, size_t size);

    /* fp32 at first. Before the first operation, and before anyone looks at the width;
     * ERR_UNSUPPORTED, with what to do, where the device has it not. */
    int (*set_precision)(struct device *d, enum device_precision p, struct err *e);

    /* ---- memory ---- */

    int (*allocate)(struct device *d, size_t bytes, void **p, struct err *e); /* zeroed */
    void (*release)(struct device *d, void *p); /* NULL is fine */
    /* From now on allocate() gives out so many bytes more at most. */
    void (*limit)(struct device *d, size_t bytes);
    void (*memory)(const struct device *d, struct device_memory *m);
    /* What it did since the last call. NULL: nothing is known of such devices. */
    void (*usage)(struct device *d, struct device_usage *u);
    /* Operations of some devices need memory while they run, and the first of them that
     * gets none makes download() return ERR_FULL. This then gives back all that is kept
     * for later, and forgets that failure, and no other: with less to do, work can begin
     * anew. NULL: operations of this device need little. */
    void (*recover)(struct device *d);
    /* Host memory that is only read and stays as it is, made known to the device:
     * itself, or a copy. */
    int (*attach)(struct device *d, const void *host, size_t bytes, const void **p,
                  struct err *e);
    void (*detach)(struct device *d, const void *p); /* NULL is fine */
    void (*upload)(struct device *d, void *to, const void *host, size_t bytes);
    int (*download)(struct device *d, void *host, const void *from, size_t bytes,
                    struct err *e);

    /* ---- forward and backward ---- */

    /* Begins to gather samples into out [rows][features]. It goes on beside what is
     * queued after it, until gather_wait(): what follows that sees out. Before, nobody
     * touches out, and what g points to stays. One at a time: another waits for it. */
    void (*gather)(struct device *d, const struct device_gather *g, size_t rows,
                   void *out);
    void (*gather_wait)(struct device *d); /* at once if none is under way */
    void (*gemm)(struct device *d, const struct device_gemm *g);
    /* From y = act(z + bias) [rows][cols] and dy, the gradient with respect to y:
     * dy becomes that with respect to z, and dbias [cols], unless NULL, its sum over the
     * rows. */
    void (*activation_backward)(struct device *d, enum device_activation activation,
                                size_t rows, size_t cols, const void *y, void *dy,
                                float *dbias);
    /* y = act(a + b), each [n]; y may be one of the two. */
    void (*add)(struct device *d, enum device_activation activation, size_t n,
                const void *a, const void *b, void *y);
    /* From that y and dy: da and db, each unless NULL. */
    void (*add_backward)(struct device *d, enum device_activation activation, size_t n,
                         const void *y, const void *dy, void *da, void *db);
    /* y = x times DROPOUT_ALL / keep where it is kept, and times 0 where not; both
     * [rows][cols], not the same. It is its own backward: of dy it makes dx. */
    void (*dropout)(struct device *d, const struct device_dropout *dropout, const void *x,
                    void *y);
    /* Cross-entropy of softmax(logits [rows][classes]) against labels[index[row]]. Adds
     * to totals; gradient, unless NULL, becomes that of the sum over the rows, times
     * `share`: with 1 / n of the mean over a batch of n, of which these rows are all, or
     * a part. With
     * smoothing above 0 the target is not 1 for the label and 0 for the others, but
     * (1 - smoothing) of that and smoothing / classes for each: Szegedy et al. 2016,
     * section 7, as PyTorch's CrossEntropyLoss has it. */
    void (*softmax_loss)(struct device *d, size_t rows, size_t classes,
                         const void *logits, const int32_t *labels, const uint32_t *index,
                         float smoothing, float share, void *gradient,
                         struct device_totals *totals);

    /* ---- images ---- */

    /* y = act(x * weight + bias), weight [out.c][size][size][in.c]: the correlation that
     * people call convolution. bias [out.c]; NULL for neither bias nor activation. */
    void (*conv)(struct device *d, const struct device_slide *s, const void *x,
                 const float *weight, const float *bias,
                 enum device_activation activation, void *y);
    /* From dy, the gradient with respect to y before its activation: dx. */
    void (*conv_backward_data)(struct device *d, const struct device_slide *s,
                               const float *weight, const void *dy, void *dx);
    /* And dweight, and dbias unless NULL. */
    void (*conv_backward_weight)(struct device *d, const struct device_slide *s,
                                 const void *x, const void *dy, float *dweight,
                                 float *dbias);
    /* y: the largest in the window, of each channel for itself; a NaN is the largest. */
    void (*max_pool)(struct device *d, const struct device_slide *s, const void *x,
                     void *y);
    /* dx: dy goes to the first in the window that is the largest. */
    void (*max_pool_backward)(struct device *d, const struct device_slide *s,
                              const void *x, const void *y, const void *dy, void *dx);

    /* y [rows][c]: the mean over the places of each channel of x [rows][h][w][c]. */
    void (*global_avg_pool)(struct device *d, size_t rows, struct image in, const void *x,
                            void *y);
    void (*global_avg_pool_backward)(struct device *d, size_t rows, struct image in,
                                     const void *dy, void *dx);

    /* In training: by the batch's mean and biased variance, which become b->mean and
     * b->rstd. The running ones move to the batch's by the share `momentum`, as PyTorch
     * has it: to the variance that is unbiased (of one number: to 0). */
    void (*batch_norm)(struct device *d, const struct device_batch_norm *b, const void *x,
                       void *y);
    /* In evaluation: by the running mean and variance. */
    void (*batch_norm_running)(struct device *d, const struct device_batch_norm *b,
                               const void *x, void *y);
    /* After batch_norm(), from dy, the gradient with respect to y: dweight, dbias and,
     * unless NULL, dx. */
    void (*batch_norm_backward)(struct device *d, const struct device_batch_norm *b,
                                const void *x, const void *dy, float *dweight,
                                float *dbias, void *dx);

    /* ---- optimiser steps over n parameters w with gradients g ---- */

    /* g += more: of another part of the batch. */
    void (*accumulate)(struct device *d, size_t n, float *g, const float *more);

    /* g *= by, and *finite: no number of it is infinite or a NaN. Waits, like
     * download(). */
    int (*unscale)(struct device *d, float by, size_t n, float *g, bool *finite,
                   struct err *e);

    /* g += weight_decay w; v = momentum v + g; w -= lr v, or with nesterov
     * w -= lr (g + momentum v). v is NULL without momentum. Sutskever et al. 2013 in the
     * form that PyTorch uses: there the learning rate is outside of v. */
    void (*sgd)(struct device *d, const struct device_sgd *s, size_t n, float *w,
                const float *g, float *v);
    /* g += weight_decay w; m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
     * w = keep w - step m / (scale sqrt(v) + epsilon): Kingma and Ba 2015, algorithm 1;
     * with keep below 1 Loshchilov and Hutter 2019, algorithm 2. */
    void (*adam)(struct device *d, const struct device_adam *s, size_t n, float *w,
                 const float *g, float *m, float *v);
};

/* How often a window fits along n; 0 if never. */
static inline size_t window_steps(struct window w, size_t n)
{
    return n + 2 * w.pad < w.size ? 0 : (n + 2 * w.pad - w.size) / w.stride + 1;
}

static inline void device_close(struct device *d)
{
    if (d)
        d->ops->close(d);
}

#endif
