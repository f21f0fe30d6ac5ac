/* Convolutions by cuDNN, over images as they are, [n][h][w][c]. What it needs to know of
 * one, and the algorithm that it recommends, is kept: a training has one for each layer,
 * direction and number of rows. Only algorithms that give the same bits each time are
 * taken, and the first of those that there is memory for. A convolution that cuDNN has
 * not in 16 bits, as of few channels, is done in fp32. */
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

struct plan {
    struct key key;
    bool narrow; /* in 16 bits */
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t weight;
    cudnnConvolutionDescriptor_t conv;
    int algorithm; /* of the operation's kind */
    size_t workspace;
    size_t count[ARRAYS]; /* elements */
    size_t place[ARRAYS]; /* in 16 bits: where they are in the space */
    size_t space;         /* bytes of these; the workspace is behind them */
};

struct convolver {
    VEC(struct plan) plans;
};

int cuda_conv_open(struct cuda *cuda, struct err *e)
{
    int rc = fault_cudnn(cudnnCreate(&cuda->dnn), "cuDNN", e);

    if (rc == 0)
        rc = fault_cudnn(cudnnSetStream(cuda->dnn, cuda->stream), "cuDNN", e);
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

/* ---- planning ---- */

static cudnnDataType_t type_of(const struct cuda *cuda, const struct plan *p)
{
    if (!p->narrow)
        return CUDNN_DATA_FLOAT;
    return cuda->precision == PRECISION_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

/* cuDNN's default takes fp32 as TF32. */
static cudnnMathType_t math_of(const struct cuda *cuda, const struct plan *p)
{
    if (p->narrow)
        return CUDNN_TENSOR_OP_MATH;
    return cuda->precision == PRECISION_TF32 ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
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

static cudnnStatus_t describe(const struct cuda *cuda, struct plan *p)
{
    const struct device_slide *s = &p->key.slide;
    cudnnDataType_t type = type_of(cuda, p);
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
    if (rc == CUDNN_STATUS_SUCCESS)
        rc = cudnnSetConvolutionMathType(p->conv, math_of(cuda, p));
    return rc;
}

/* Where the arrays are in 16 bits. */
static void place(struct plan *p)
{
    const struct device_slide *s = &p->key.slide;

    p->count[X] = s->rows * image_size(s->in);
    p->count[WEIGHT] = s->out.c * s->window.size * s->window.size * s->in.c;
    p->count[Y] = s->rows * image_size(s->out);
    for (int a = 0; a < ARRAYS && p->narrow; a++) {
        p->place[a] = p->space;
        p->space += CUDA_ALIGN(2 * p->count[a]);
    }
}

/* What cuDNN has for each kind of operation, in one form. */
struct algorithm {
    int number;
    cudnnStatus_t status;
    bool same_bits;
    size_t workspace;
    cudnnMathType_t math;
};

#define TAKE(perf)                                                                       \
    (struct algorithm)                                                                   \
    {                                                                                    \
        (int)(perf).algo, (perf).status, (perf).determinism == CUDNN_DETERMINISTIC,      \
            (perf).memory, (perf).mathType                                               \
    }

/* Those that cuDNN recommends, best first. */
static cudnnStatus_t recommended(const struct cuda *cuda, const struct plan *p,
                                 struct algorithm to[ALGORITHMS], int *n)
{
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

/* Takes an algorithm if it is one for us. Else ERR_UNSUPPORTED, or ERR_FULL. */
static int take(struct cuda *cuda, struct plan *p, const struct algorithm *a,
                struct err *e)
{
    bool fp32 = math_of(cuda, p) == CUDNN_FMA_MATH;
    bool too_coarse = fp32 && a->math == CUDNN_TENSOR_OP_MATH;
    void *space;

    if (a->status != CUDNN_STATUS_SUCCESS || !a->same_bits || too_coarse)
        return ERR_UNSUPPORTED;
    if (a->workspace > WORKSPACE_MOST)
        return ERR_FULL;
    int rc = cuda_space_try(cuda, p->space + a->workspace, &space, e);
    if (rc < 0)
        return rc;
    p->algorithm = a->number;
    p->workspace = a->workspace;
    /* In fp32 it is as we said, and no less. */
    if (!fp32)
        rc = fault_cudnn(cudnnSetConvolutionMathType(p->conv, a->math), "cuDNN", e);
    return rc;
}

/* ERR_UNSUPPORTED where cuDNN has it not. */
static int choose(struct cuda *cuda, struct plan *p, struct err *e)
{
    static const char what[] = "a convolution";
    struct algorithm algorithms[ALGORITHMS];
    const struct device_slide *s = &p->key.slide;
    int n = 0, rc = fault_cudnn(describe(cuda, p), what, e);

    place(p);
    if (rc == 0)
        rc = fault_cudnn(recommended(cuda, p, algorithms, &n), what, e);
    if (rc < 0)
        return rc;
    rc = err_set(e, ERR_UNSUPPORTED,
                 "cuDNN has no way to do a convolution of %zux%zux%zu by %zux%zu that "
                 "gives the same bits each time and takes no more than 1 GiB",
                 s->in.h, s->in.w, s->in.c, s->window.size, s->window.size);
    for (int i = 0; i < n && rc < 0; i++)
        rc = take(cuda, p, &algorithms[i], e);
    return rc < 0 ? e->code : 0;
}

static bool make(struct cuda *cuda, struct plan *p)
{
    enum kernel_narrow to;
    struct err e;
    int rc;

    p->narrow = cuda_narrows(cuda, &to);
    rc = choose(cuda, p, &e);
    if (rc == ERR_UNSUPPORTED && p->narrow) {
        plan_clear(p);
        rc = choose(cuda, p, &e);
    }
    if (rc < 0 && !cuda->failure.code)
        cuda->failure = e;
    return rc == 0;
}

static const struct plan *find(struct cuda *cuda, const struct device_slide *s,
                               enum operation o)
{
    struct convolver *c = cuda->convolver;
    const struct key key = {*s, o};
    struct plan made = {.key = key};

    for (size_t i = 0; i < c->plans.n; i++)
        if (memcmp(&c->plans.v[i].key, &key, sizeof(key)) == 0)
            return &c->plans.v[i];
    if (!make(cuda, &made)) {
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
    const float one = 1, zero = 0;

    switch ((enum operation)p->key.operation) {
    case FORWARD:
        return cudnnConvolutionForward(cuda->dnn, &one, p->x, at[X], p->weight,
                                       at[WEIGHT], p->conv,
                                       (cudnnConvolutionFwdAlgo_t)p->algorithm, workspace,
                                       p->workspace, &zero, p->y, at[Y]);
    case BACKWARD_DATA:
        return cudnnConvolutionBackwardData(cuda->dnn, &one, p->weight, at[WEIGHT], p->y,
                                            at[Y], p->conv,
                                            (cudnnConvolutionBwdDataAlgo_t)p->algorithm,
                                            workspace, p->workspace, &zero, p->x, at[X]);
    case BACKWARD_WEIGHT: break;
    }
    return cudnnConvolutionBackwardFilter(
        cuda->dnn, &one, p->x, at[X], p->y, at[Y], p->conv,
        (cudnnConvolutionBwdFilterAlgo_t)p->algorithm, workspace, p->workspace, &zero,
        p->weight, at[WEIGHT]);
}

/* Of the arrays one is the result; bias and relu are of a result y. */
static void convolve(struct cuda *cuda, enum operation o, const struct device_slide *s,
                     const float *x, const float *weight, const float *y,
                     const float *bias, bool relu)
{
    static const char what[] = "a convolution";
    const float *const arrays[ARRAYS] = {x, weight, y};
    enum array result = result_of[o];
    float *out = (float *)(uintptr_t)arrays[result];
    enum kernel_narrow to;
    const struct plan *p = find(cuda, s, o);
    void *at[ARRAYS];
    bool ok = true;

    if (!p)
        return;
    bool narrow = cuda_narrows(cuda, &to) && p->narrow;
    /* Samples may begin anywhere; cuDNN wants them at multiples of 16 bytes. */
    bool askew = !narrow && result != X && (uintptr_t)x % 16 != 0;
    size_t behind = CUDA_ALIGN(p->space + p->workspace);
    char *space = cuda_space(cuda, behind + (askew ? p->count[X] * sizeof(*x) : 0));
    if (!space)
        return;
    for (int a = 0; a < ARRAYS && ok; a++) {
        at[a] = narrow ? space + p->place[a] : (void *)(uintptr_t)arrays[a];
        if (narrow && (enum array)a != result)
            ok = cuda_ok(cuda,
                         kernel_narrow(cuda->stream, to, p->count[a], arrays[a], at[a]),
                         what);
    }
    if (askew) {
        at[X] = space + behind;
        ok = cuda_ok(cuda,
                     cudaMemcpyAsync(at[X], x, p->count[X] * sizeof(*x),
                                     cudaMemcpyDeviceToDevice, cuda->stream),
                     what);
    }
    if (!ok || !cuda_dnn_ok(cuda, launch(cuda, p, at, space + p->space), what))
        return;
    if (narrow)
        cuda_ok(cuda,
                kernel_widen(cuda->stream, to, p->count[result], at[result], bias,
                             s->out.c, relu, out),
                what);
    else if (bias)
        cuda_ok(cuda, kernel_bias(cuda->stream, p->count[Y], s->out.c, bias, relu, out),
                what);
}

void cuda_conv(struct device *d, const struct device_slide *s, const float *x,
               const float *weight, const float *bias, enum device_activation activation,
               float *y)
{
    convolve((struct cuda *)d, FORWARD, s, x, weight, y, bias,
             activation == ACTIVATION_RELU);
}

void cuda_conv_backward_data(struct device *d, const struct device_slide *s,
                             const float *weight, const float *dy, float *dx)
{
    convolve((struct cuda *)d, BACKWARD_DATA, s, dx, weight, dy, NULL, false);
}

void cuda_conv_backward_weight(struct device *d, const struct device_slide *s,
                               const float *x, const float *dy, float *dweight,
                               float *dbias)
{
    struct cuda *cuda = (struct cuda *)d;
    size_t n = s->rows * s->out.h * s->out.w, c = s->out.c;

    convolve(cuda, BACKWARD_WEIGHT, s, x, dweight, dy, NULL, false);
    void *space = dbias ? cuda_space(cuda, kernel_sums_space(n, c)) : NULL;
    if (space)
        cuda_ok(cuda,
                kernel_column_sums(cuda->stream, n, c, NULL, dy, NULL, dbias, space),
                "a bias's gradient");
}
