/* Convolutions by cuDNN, over images as they are, [n][h][w][c]. What it needs to know of
 * one, and the algorithms that it recommends, are kept: a training has one for each
 * layer, direction and number of rows. Of the algorithms only those that give the same
 * bits each time are taken, in cuDNN's order; one that there is no memory for, or that it
 * refuses when it is to run, gives way to the next. Of 16 bits all three arrays are:
 * parameters are rounded before, and their gradients widened behind. A convolution that
 * cuDNN has not in 16 bits, as of few channels, is done in fp32. */
#include "gpu/cuda_private.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum operation { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHT };
enum array { X, WEIGHT, Y, ARRAYS };

static const enum array result_of[] = {
    [FORWARD] = Y,
    [BACKWARD_DATA] = X,
    [BACKWARD_WEIGHT] = WEIGHT,
};

/* More of cuDNN's algorithms than there are of any kind. */
#define ALGORITHMS 16

/* An algorithm may have so much to work in. */
#define WORKSPACE_MOST ((size_t)1 << 30)

struct key {
    struct device_slide slide;
    size_t operation; /* size_t: there are no gaps */
};

/* One of cuDNN's algorithms, whatever the kind of operation. */
struct algorithm {
    int number;
    cudnnStatus_t status;
    bool same_bits;
    size_t workspace;
    cudnnMathType_t math;
};

struct plan {
    struct key key;
    enum kernel_type type; /* of the arrays, as cuDNN takes them */
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t weight;
    cudnnConvolutionDescriptor_t conv;
    struct algorithm algorithms[ALGORITHMS]; /* for us, the best first */
    int n, at;                               /* at: the one that is used */
    bool large;           /* some were left out for what they need to work in */
    size_t count[ARRAYS]; /* elements */
    size_t place[ARRAYS]; /* of those that are of another type: where in the space */
    size_t space;         /* bytes of these; the workspace is behind them */
};

struct convolver {
    VEC(struct plan) plans;
};

int cuda_conv_open(struct cuda *cuda, struct err *e)
{
    int rc = fault_cudnn(cudnnCreate(&cuda->dnn), "cuDNN", e);

    if (rc == 0)
        rc = fault_cudnn(cudnnSetStream(cuda->dnn, cuda->queue), "cuDNN", e);
    cuda->convolver = mem_alloc(sizeof(*cuda->convolver));
    return rc;
}

/* What cuDNN was told of it. */
static void plan_clear(struct plan *p)
{
    if (p->x)
        cudnnDestroyTensorDescriptor(p->x);
    if (p->y)
        cudnnDestroyTensorDescriptor(p->y);
    if (p->weight)
        cudnnDestroyFilterDescriptor(p->weight);
    if (p->conv)
        cudnnDestroyConvolutionDescriptor(p->conv);
    *p = (struct plan){.key = p->key};
}

void cuda_conv_close(struct cuda *cuda)
{
    struct convolver *c = cuda->convolver;

    for (size_t i = 0; c && i < c->plans.n; i++)
        plan_clear(&c->plans.v[i]);
    if (c)
        vec_free(&c->plans);
    free(c);
    if (cuda->dnn)
        cudnnDestroy(cuda->dnn);
}

/* What was planned comes anew: algorithms that there was no memory for, too. */
void cuda_conv_forget(struct cuda *cuda)
{
    struct convolver *c = cuda->convolver;

    while (c->plans.n)
        plan_clear(&c->plans.v[--c->plans.n]);
}

/* ---- planning ---- */

static cudnnDataType_t type_of(const struct plan *p)
{
    return p->type == KERNEL_BF16   ? CUDNN_DATA_BFLOAT16
           : p->type == KERNEL_FP16 ? CUDNN_DATA_HALF
                                    : CUDNN_DATA_FLOAT;
}

/* cuDNN's default takes fp32 as TF32. */
static bool is_exact(const struct cuda *cuda, const struct plan *p)
{
    return p->type == KERNEL_FP32 && cuda->precision != PRECISION_TF32;
}

static cudnnStatus_t set_image(cudnnTensorDescriptor_t *t, cudnnDataType_t type,
                               size_t rows, struct image i)
{
    cudnnStatus_t rc = cudnnCreateTensorDescriptor(t);

    return rc != CUDNN_STATUS_SUCCESS
               ? rc
               : cudnnSetTensor4dDescriptor(*t, CUDNN_TENSOR_NHWC, type, (int)rows,
                                            (int)i.c, (int)i.h, (int)i.w);
}

static cudnnStatus_t describe(struct plan *p)
{
    const struct device_slide *s = &p->key.slide;
    cudnnDataType_t type = type_of(p);
    int size = (int)s->window.size, stride = (int)s->window.stride,
        pad = (int)s->window.pad;
    cudnnStatus_t rc = set_image(&p->x, type, s->rows, s->in);

    if (rc == CUDNN_STATUS_SUCCESS)
        rc = set_image(&p->y, type, s->rows, s->out);
    if (rc == CUDNN_STATUS_SUCCESS)
        rc = cudnnCreateFilterDescriptor(&p->weight);
    if (rc == CUDNN_STATUS_SUCCESS)
        rc = cudnnSetFilter4dDescriptor(p->weight, type, CUDNN_TENSOR_NHWC, (int)s->out.c,
                                        (int)s->in.c, size, size);
    if (rc == CUDNN_STATUS_SUCCESS)
        rc = cudnnCreateConvolutionDescriptor(&p->conv);
    if (rc == CUDNN_STATUS_SUCCESS)
        rc = cudnnSetConvolution2dDescriptor(p->conv, pad, pad, stride, stride, 1, 1,
                                             CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
    return rc;
}

/* Of arrays as we have them. */
static enum kernel_type own_type(const struct cuda *cuda, enum array a)
{
    return a == WEIGHT ? KERNEL_FP32 : cuda->type;
}

/* Where the arrays are that are of another type than ours. */
static void place(const struct cuda *cuda, struct plan *p)
{
    const struct device_slide *s = &p->key.slide;

    p->count[X] = s->rows * image_size(s->in);
    p->count[WEIGHT] = s->out.c * s->window.size * s->window.size * s->in.c;
    p->count[Y] = s->rows * image_size(s->out);
    for (int a = 0; a < ARRAYS; a++) {
        if (own_type(cuda, (enum array)a) == p->type)
            continue;
        p->place[a] = p->space;
        p->space += CUDA_ALIGN(p->count[a] * (p->type == KERNEL_FP32 ? 4 : 2));
    }
}

#define TAKE(perf)                                                                       \
    (struct algorithm)                                                                   \
    {                                                                                    \
        (int)(perf).algo, (perf).status, (perf).determinism == CUDNN_DETERMINISTIC,      \
            (perf).memory, (perf).mathType                                               \
    }

/* All that cuDNN recommends, the best first. */
static cudnnStatus_t recommended(const struct cuda *cuda, struct plan *p)
{
    struct algorithm *to = p->algorithms;
    int *n = &p->n;
    cudnnConvolutionFwdAlgoPerf_t forward[ALGORITHMS];
    cudnnConvolutionBwdDataAlgoPerf_t data[ALGORITHMS];
    cudnnConvolutionBwdFilterAlgoPerf_t weight[ALGORITHMS];
    cudnnStatus_t rc;

    switch ((enum operation)p->key.operation) {
    case FORWARD:
        rc = cudnnGetConvolutionForwardAlgorithm_v7(cuda->dnn, p->x, p->weight, p->conv,
                                                    p->y, ALGORITHMS, n, forward);
        for (int i = 0; rc == CUDNN_STATUS_SUCCESS && i < *n; i++)
            to[i] = TAKE(forward[i]);
        return rc;
    case BACKWARD_DATA:
        rc = cudnnGetConvolutionBackwardDataAlgorithm_v7(
            cuda->dnn, p->weight, p->y, p->conv, p->x, ALGORITHMS, n, data);
        for (int i = 0; rc == CUDNN_STATUS_SUCCESS && i < *n; i++)
            to[i] = TAKE(data[i]);
        return rc;
    case BACKWARD_WEIGHT: break;
    }
    rc = cudnnGetConvolutionBackwardFilterAlgorithm_v7(cuda->dnn, p->x, p->y, p->conv,
                                                       p->weight, ALGORITHMS, n, weight);
    for (int i = 0; rc == CUDNN_STATUS_SUCCESS && i < *n; i++)
        to[i] = TAKE(weight[i]);
    return rc;
}

/* In fp32 it is as we say; else each algorithm has its own. */
static cudnnStatus_t set_math(const struct cuda *cuda, const struct plan *p)
{
    return cudnnSetConvolutionMathType(
        p->conv, is_exact(cuda, p) ? CUDNN_FMA_MATH : p->algorithms[p->at].math);
}

/* Keeps the algorithms that are for us. ERR_UNSUPPORTED where there is none; ERR_FULL
 * where there is, for fewer rows. */
static int keep(struct cuda *cuda, struct plan *p, struct err *e)
{
    const struct device_slide *s = &p->key.slide;
    int n = 0;

    for (int i = 0; i < p->n; i++) {
        const struct algorithm *a = &p->algorithms[i];
        bool coarse = is_exact(cuda, p) && a->math == CUDNN_TENSOR_OP_MATH;
        if (a->status != CUDNN_STATUS_SUCCESS || !a->same_bits || coarse)
            continue;
        if (a->workspace > WORKSPACE_MOST)
            p->large = true;
        else
            p->algorithms[n++] = *a;
    }
    p->n = n;
    if (n)
        return 0;
    return err_set(e, p->large ? ERR_FULL : ERR_UNSUPPORTED,
                   "cuDNN has no way to do a convolution of %zux%zux%zu by %zux%zu that "
                   "gives the same bits each time%s",
                   s->in.h, s->in.w, s->in.c, s->window.size, s->window.size,
                   p->large ? " and takes no more than 1 GiB" : "");
}

/* In one type. */
static int make(struct cuda *cuda, struct plan *p, enum kernel_type type, struct err *e)
{
    static const char what[] = "a convolution";
    cudnnMathType_t math = CUDNN_TENSOR_OP_MATH;

    p->type = type;
    if (type == KERNEL_FP32)
        math = is_exact(cuda, p) ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH;
    int rc = fault_cudnn(describe(p), what, e);
    if (rc == 0)
        rc = fault_cudnn(cudnnSetConvolutionMathType(p->conv, math), what, e);
    if (rc == 0)
        rc = fault_cudnn(recommended(cuda, p), what, e);
    if (rc == 0)
        rc = keep(cuda, p, e);
    if (rc == 0)
        rc = fault_cudnn(set_math(cuda, p), what, e);
    place(cuda, p);
    return rc;
}

static int make_any(struct cuda *cuda, struct plan *p, struct err *e)
{
    int rc = make(cuda, p, cuda->type, e);

    if (rc == ERR_UNSUPPORTED && cuda->type != KERNEL_FP32) {
        plan_clear(p);
        rc = make(cuda, p, KERNEL_FP32, e);
    }
    return rc;
}

/* The next algorithm, after one that cuDNN refuses, or that there is no memory for. In
 * fp32 there are more, but memory there is then less. */
static bool turn(struct cuda *cuda, struct plan *p, struct err *e)
{
    p->large |= e->code == ERR_FULL;
    if (p->at + 1 < p->n) {
        p->at++;
        return fault_cudnn(set_math(cuda, p), "a convolution", e) == 0;
    }
    if (p->large) {
        e->code = ERR_FULL;
        return false;
    }
    if (p->type == KERNEL_FP32)
        return false;
    plan_clear(p);
    return make(cuda, p, KERNEL_FP32, e) == 0;
}

static struct plan *find(struct cuda *cuda, const struct device_slide *s,
                         enum operation o)
{
    struct convolver *c = cuda->convolver;
    const struct key key = {*s, o};
    struct plan made = {.key = key};

    for (size_t i = 0; i < c->plans.n; i++)
        if (memcmp(&c->plans.v[i].key, &key, sizeof(key)) == 0)
            return &c->plans.v[i];
    struct err e;
    if (!cuda_note(cuda, make_any(cuda, &made, &e), &e)) {
        plan_clear(&made);
        return NULL;
    }
    vec_push(&c->plans, made);
    return &c->plans.v[c->plans.n - 1];
}

/* ---- running ---- */

static cudnnStatus_t launch(const struct cuda *cuda, const struct plan *p,
                            void *const at[ARRAYS], void *workspace)
{
    const struct algorithm *a = &p->algorithms[p->at];
    const float one = 1, zero = 0;

    switch ((enum operation)p->key.operation) {
    case FORWARD:
        return cudnnConvolutionForward(cuda->dnn, &one, p->x, at[X], p->weight,
                                       at[WEIGHT], p->conv,
                                       (cudnnConvolutionFwdAlgo_t)a->number, workspace,
                                       a->workspace, &zero, p->y, at[Y]);
    case BACKWARD_DATA:
        return cudnnConvolutionBackwardData(cuda->dnn, &one, p->weight, at[WEIGHT], p->y,
                                            at[Y], p->conv,
                                            (cudnnConvolutionBwdDataAlgo_t)a->number,
                                            workspace, a->workspace, &zero, p->x, at[X]);
    case BACKWARD_WEIGHT: break;
    }
    return cudnnConvolutionBackwardFilter(
        cuda->dnn, &one, p->x, at[X], p->y, at[Y], p->conv,
        (cudnnConvolutionBwdFilterAlgo_t)a->number, workspace, a->workspace, &zero,
        p->weight, at[WEIGHT]);
}

/* By the plan's algorithm. ERR_UNSUPPORTED, ERR_FULL: not by that one. */
static int attempt(struct cuda *cuda, const struct plan *p, void *const arrays[ARRAYS],
                   struct err *e)
{
    static const char what[] = "a convolution";
    enum array result = result_of[p->key.operation];
    enum kernel_type own = own_type(cuda, result);
    void *at[ARRAYS], *space;
    int rc = cuda_space_try(cuda, p->space + p->algorithms[p->at].workspace, &space, e);

    for (int a = 0; a < ARRAYS && rc == 0; a++) {
        enum kernel_type t = own_type(cuda, (enum array)a);
        at[a] = t == p->type ? arrays[a] : (char *)space + p->place[a];
        if (t != p->type && (enum array)a != result)
            rc = fault_cuda(
                kernel_convert(cuda->queue, t, p->type, p->count[a], arrays[a], at[a]),
                &cuda->versions, what, e);
    }
    if (rc == 0) {
        cudnnStatus_t status = launch(cuda, p, at, (char *)space + p->space);
        rc = fault_cudnn(status, what, e);
        /* That it recommended the algorithm makes its refusal no fault of ours. */
        if (status >= CUDNN_STATUS_BAD_PARAM && status < CUDNN_STATUS_NOT_SUPPORTED)
            rc = e->code = ERR_UNSUPPORTED;
    }
    if (rc == 0 && own != p->type)
        rc = fault_cuda(kernel_convert(cuda->queue, p->type, own, p->count[result],
                                       at[result], arrays[result]),
                        &cuda->versions, what, e);
    return rc;
}

/* Of the arrays one is the result. */
static bool convolve(struct cuda *cuda, enum operation o, const struct device_slide *s,
                     const void *x, const float *weight, const void *y)
{
    void *const arrays[ARRAYS] = {(void *)(uintptr_t)x, (void *)(uintptr_t)weight,
                                  (void *)(uintptr_t)y};
    struct plan *p = find(cuda, s, o);
    struct err e, first = {0};
    int rc;

    if (!p)
        return false;
    do {
        rc = attempt(cuda, p, arrays, &e);
        if (rc < 0 && !first.code)
            first = e;
    } while ((rc == ERR_UNSUPPORTED || rc == ERR_FULL) && turn(cuda, p, &e));
    /* ERR_FULL is what fewer rows mend; else why the best algorithm failed says most. */
    return cuda_note(cuda, rc < 0 ? e.code : 0, e.code == ERR_FULL ? &e : &first);
}

void cuda_conv_forward(struct cuda *cuda, const struct device_slide *s, const void *x,
                       const float *weight, const float *bias, bool relu, void *y)
{
    if (convolve(cuda, FORWARD, s, x, weight, y) && bias)
        cuda_ok(cuda,
                kernel_bias(cuda->queue, cuda->type, s->rows * image_size(s->out),
                            s->out.c, bias, relu, y),
                "a bias");
}

void cuda_conv_data_gradient(struct cuda *cuda, const struct device_slide *s,
                             const float *weight, const void *dy, void *dx)
{
    convolve(cuda, BACKWARD_DATA, s, dx, weight, dy);
}

void cuda_conv_weight_gradient(struct cuda *cuda, const struct device_slide *s,
                               const void *x, const void *dy, float *dweight,
                               float *dbias)
{
    size_t n = s->rows * s->out.h * s->out.w, c = s->out.c;

    convolve(cuda, BACKWARD_WEIGHT, s, x, dweight, dy);
    void *space = dbias ? cuda_space(cuda, kernel_sums_space(cuda->type, n, c)) : NULL;
    if (space)
        cuda_ok(cuda,
                kernel_column_sums(cuda->queue, cuda->type, n, c, NULL, dy, NULL, dbias,
                                   space),
                "a bias's gradient");
}
