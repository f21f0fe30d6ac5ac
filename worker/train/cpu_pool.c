/* The largest under a window. */
#include "worker/train/cpu_private.h"

#include <string.h>

/* Where the window is: its rows and columns that lie inside of the image. */
struct place {
    size_t top, bottom, left, right;
};

/* The part of a window's places from `at` that an image of n has. */
static void clip(struct window w, size_t at, size_t n, size_t *from, size_t *to)
{
    size_t start = at * w.stride, end = start + w.size;

    *from = start < w.pad ? 0 : start - w.pad;
    *to = end < n + w.pad ? end - w.pad : n;
}

static struct place place_at(const struct device_slide *s, size_t oy, size_t ox)
{
    struct place p;

    clip(s->window, oy, s->in.h, &p.top, &p.bottom);
    clip(s->window, ox, s->in.w, &p.left, &p.right);
    return p;
}

WIDE static void take_larger(size_t n, const float *restrict x, float *restrict y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > y[i] || x[i] != x[i] ? x[i] : y[i];
}

/* y [c] from one image's x, at one place. */
static void pool_place(const struct place *p, struct image in, const float *x, float *y)
{
    memcpy(y, x + (p->top * in.w + p->left) * in.c, in.c * sizeof(*y));
    for (size_t r = p->top; r < p->bottom; r++)
        for (size_t k = p->left; k < p->right; k++)
            take_larger(in.c, x + (r * in.w + k) * in.c, y);
}

/* Images that are pooled to y; or, having been pooled, get their gradient dx. */
struct pooling {
    const struct device_slide *s;
    const float *x, *pooled, *dy;
    float *y, *dx;
};

static void pool_images(void *arg, size_t piece, size_t from, size_t to)
{
    const struct pooling *p = arg;
    const struct device_slide *s = p->s;
    const float *x = p->x + from * image_size(s->in);
    float *y = p->y + from * image_size(s->out);

    (void)piece;
    for (size_t i = from; i < to; i++, x += image_size(s->in))
        for (size_t oy = 0; oy < s->out.h; oy++)
            for (size_t ox = 0; ox < s->out.w; ox++, y += s->out.c) {
                struct place at = place_at(s, oy, ox);
                pool_place(&at, s->in, x, y);
            }
}

void cpu_max_pool(struct device *d, const struct device_slide *s, const void *x, void *y)
{
    struct pooling p = {.s = s, .x = x, .y = y};

    cpu_parallel((struct cpu *)d, s->rows, image_size(s->in), pool_images, &p);
}

/* Of each channel the first that is the largest gets dy: not less than y, so that a NaN
 * is. By the last that is found going backwards, without a branch: which it is cannot be
 * foreseen, and a wrong guess costs more than looking at all of them. */
static void give_place(const struct place *p, struct image in, const float *x,
                       const float *y, const float *dy, float *dx)
{
    for (size_t i = 0; i < in.c; i++) {
        size_t at = 0;
        for (size_t r = p->bottom; r-- > p->top;)
            for (size_t k = p->right; k-- > p->left;) {
                size_t here = (r * in.w + k) * in.c + i;
                at = x[here] < y[i] ? at : here;
            }
        dx[at] += dy[i];
    }
}

static void pool_images_backward(void *arg, size_t piece, size_t from, size_t to)
{
    const struct pooling *p = arg;
    const struct device_slide *s = p->s;
    size_t size = image_size(s->in), out = image_size(s->out);
    const float *x = p->x + from * size, *y = p->pooled + from * out,
                *dy = p->dy + from * out;
    float *dx = p->dx + from * size;

    (void)piece;
    memset(dx, 0, (to - from) * size * sizeof(*dx));
    for (size_t i = from; i < to; i++, x += size, dx += size)
        for (size_t oy = 0; oy < s->out.h; oy++)
            for (size_t ox = 0; ox < s->out.w; ox++) {
                struct place at = place_at(s, oy, ox);
                give_place(&at, s->in, x, y, dy, dx);
                y += s->out.c;
                dy += s->out.c;
            }
}

void cpu_max_pool_backward(struct device *d, const struct device_slide *s, const void *x,
                           const void *y, const void *dy, void *dx)
{
    struct pooling p = {.s = s, .x = x, .pooled = y, .dy = dy, .dx = dx};

    cpu_parallel((struct cpu *)d, s->rows, image_size(s->in), pool_images_backward, &p);
}
