/* Convolution as matrix products: each place of the window becomes a row of a matrix,
 * `patches` [places][size * size * in.c], for a few images at a time, so that it stays
 * in the cache. */
#include "worker/train/cpu_private.h"

#include <cblas.h>

#include <string.h>

#define PATCH_FLOATS ((size_t)1 << 16)

/* A convolution and how it is taken to pieces. */
struct plan {
    const struct device_slide *s;
    size_t places; /* of the window in an image */
    size_t patch;  /* numbers under the window */
    size_t images; /* at a time */
    float *patches;
};

static bool plan_make(struct cpu *cpu, const struct device_slide *s, struct plan *p)
{
    *p = (struct plan){.s = s};
    p->places = s->out.h * s->out.w;
    p->patch = s->window.size * s->window.size * s->in.c;
    p->images = PATCH_FLOATS / (p->places * p->patch) + 1;
    p->patches = cpu_space(cpu, p->images * p->places * p->patch * sizeof(float));
    return p->patches;
}

/* The part of a window's n columns that lies inside of the image. */
struct span {
    size_t from, to;
};

static struct span inside(size_t start, size_t pad, size_t size, size_t n)
{
    struct span s = {start < pad ? pad - start : 0, size};

    if (start + size > n + pad)
        s.to = n + pad > start ? n + pad - start : 0;
    if (s.from > s.to)
        s.from = s.to;
    return s;
}

/* The rows of patches of one image. */
static void gather_patches(const struct plan *p, const float *x, float *patches)
{
    const struct device_slide *s = p->s;
    size_t size = s->window.size, pad = s->window.pad, c = s->in.c;

    for (size_t oy = 0; oy < s->out.h; oy++)
        for (size_t ox = 0; ox < s->out.w; ox++) {
            size_t top = oy * s->window.stride, left = ox * s->window.stride;
            struct span rows = inside(top, pad, size, s->in.h);
            struct span cols = inside(left, pad, size, s->in.w);
            size_t n = (cols.to - cols.from) * c;
            if (n != size * c || rows.to - rows.from != size)
                memset(patches, 0, p->patch * sizeof(*patches));
            for (size_t k = rows.from; k < rows.to && n; k++)
                memcpy(patches + (k * size + cols.from) * c,
                       x + ((top + k - pad) * s->in.w + left + cols.from - pad) * c,
                       n * sizeof(*x));
            patches += p->patch;
        }
}

WIDE static void add(size_t n, const float *restrict x, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

/* Adds them to the places in one image that they came from. */
static void scatter_patches(const struct plan *p, const float *patches, float *dx)
{
    const struct device_slide *s = p->s;
    size_t size = s->window.size, pad = s->window.pad, c = s->in.c;

    memset(dx, 0, s->in.h * s->in.w * c * sizeof(*dx));
    for (size_t oy = 0; oy < s->out.h; oy++)
        for (size_t ox = 0; ox < s->out.w; ox++) {
            size_t top = oy * s->window.stride, left = ox * s->window.stride;
            struct span rows = inside(top, pad, size, s->in.h);
            struct span cols = inside(left, pad, size, s->in.w);
            size_t n = (cols.to - cols.from) * c;
            for (size_t k = rows.from; k < rows.to && n; k++)
                add(n, patches + (k * size + cols.from) * c,
                    dx + ((top + k - pad) * s->in.w + left + cols.from - pad) * c);
            patches += p->patch;
        }
}

/* The images from `start` that are done at once. */
static size_t images_at(const struct plan *p, size_t start)
{
    size_t left = p->s->rows - start;
    return left < p->images ? left : p->images;
}

static void gather_images(const struct plan *p, const float *x, size_t start, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gather_patches(p, x + (start + i) * image_size(p->s->in),
                       p->patches + i * p->places * p->patch);
}

void cpu_conv(struct device *d, const struct device_slide *s, const void *x,
              const float *weight, const float *bias, enum device_activation activation,
              void *y)
{
    struct plan p;

    if (!plan_make((struct cpu *)d, s, &p))
        return;
    for (size_t start = 0, n; start < s->rows; start += n) {
        n = images_at(&p, start);
        gather_images(&p, x, start, n);
        d->ops->gemm(d, &(struct device_gemm){
                            .b_transposed = true,
                            .m = n * p.places,
                            .n = s->out.c,
                            .k = p.patch,
                            .a = p.patches,
                            .b = weight,
                            .c = (float *)y + start * image_size(s->out),
                            .bias = bias,
                            .activation = activation,
                        });
    }
}

void cpu_conv_backward_data(struct device *d, const struct device_slide *s,
                            const float *weight, const void *dy, void *dx)
{
    struct plan p;

    if (!plan_make((struct cpu *)d, s, &p))
        return;
    for (size_t start = 0, n; start < s->rows; start += n) {
        n = images_at(&p, start);
        d->ops->gemm(d, &(struct device_gemm){
                            .m = n * p.places,
                            .n = p.patch,
                            .k = s->out.c,
                            .a = (const float *)dy + start * image_size(s->out),
                            .b = weight,
                            .c = p.patches,
                        });
        for (size_t i = 0; i < n; i++)
            scatter_patches(&p, p.patches + i * p.places * p.patch,
                            (float *)dx + (start + i) * image_size(s->in));
    }
}

void cpu_conv_backward_weight(struct device *d, const struct device_slide *s,
                              const void *x, const void *dy, float *dweight, float *dbias)
{
    struct plan p;

    if (!plan_make((struct cpu *)d, s, &p))
        return;
    for (size_t start = 0, n; start < s->rows; start += n) {
        n = images_at(&p, start);
        gather_images(&p, x, start, n);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)s->out.c,
                    (blasint)p.patch, (blasint)(n * p.places), 1,
                    (const float *)dy + start * image_size(s->out), (blasint)s->out.c,
                    p.patches, (blasint)p.patch, start ? 1 : 0, dweight,
                    (blasint)p.patch);
    }
    if (!dbias)
        return;
    memset(dbias, 0, s->out.c * sizeof(*dbias));
    for (size_t i = 0; i < s->rows * p.places; i++)
        add(s->out.c, (const float *)dy + i * s->out.c, dbias);
}

void cpu_product(struct cpu *cpu, const struct device_gemm *g)
{
    (void)cpu;
    cpu_blas_product(g);
}

int cpu_conv_precision(enum device_precision p, struct err *e)
{
    if (p == PRECISION_FP32)
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "this rung-train is built without oneDNN, which has bf16: use fp32");
}

void cpu_conv_open(struct cpu *cpu)
{
    cpu_blas_open(cpu);
}

void cpu_conv_close(struct cpu *cpu)
{
    (void)cpu;
}

void cpu_conv_describe(char *text, size_t size)
{
    cpu_blas_describe(text, size);
}
