/* A batch's samples, one after another: each is normalised as it is stored, moved, and
 * brought into the model's order, by passes over what a first-level cache has room for.
 */
#include "worker/train/cpu_private.h"

#include <string.h>

WIDE static void normalise_u8(size_t n, const uint8_t *restrict x,
                              const float *restrict mean, const float *restrict scale,
                              float *restrict out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = ((float)x[i] - mean[i]) * scale[i];
}

WIDE static void normalise_f32(size_t n, const float *restrict x,
                               const float *restrict mean, const float *restrict scale,
                               float *restrict out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = (x[i] - mean[i]) * scale[i];
}

static void normalise(const struct device_gather *g, const char *x, float *out)
{
    if (g->type == SAMPLE_U8)
        normalise_u8(g->features, (const uint8_t *)x, g->mean, g->scale, out);
    else
        normalise_f32(g->features, (const float *)(const void *)x, g->mean, g->scale,
                      out);
}

WIDE static void interleave_3(size_t n, const float *restrict a, const float *restrict b,
                              const float *restrict c, float *restrict out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        out[3 * i] = a[i];
        out[3 * i + 1] = b[i];
        out[3 * i + 2] = c[i];
    }
}

/* [planes][n] becomes [n][planes]. */
static void interleave(size_t planes, size_t n, const float *in, float *out)
{
    if (planes == 3) {
        interleave_3(n, in, in + n, in + 2 * n, out);
        return;
    }
    for (size_t p = 0; p < planes; p++, in += n)
        for (size_t i = 0; i < n; i++)
            out[i * planes + p] = in[i];
}

/* n pixels of c numbers, the last first. */
static void mirror(size_t n, size_t c, const float *in, float *out)
{
    for (in += n * c; n > 0; n--) {
        in -= c;
        for (size_t k = 0; k < c; k++)
            *out++ = in[k];
    }
}

WIDE static void mirror_plane(size_t n, const float *restrict in, float *restrict out)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = in[n - 1 - i];
}

/* A row of `out` from the row of `in` that it is taken from. Mirrored, pixel x is that at
 * w - 1 - x + dx: the row moved by dx, and then mirrored. */
static void move_row(struct image image, struct device_move m, const float *in,
                     float *out)
{
    size_t w = image.w, c = image.c;
    size_t by = (size_t)(m.dx < 0 ? -m.dx : m.dx), n = by < w ? w - by : 0;
    size_t from = m.dx < 0 ? 0 : by;    /* in `in`, n pixels of it */
    bool behind = m.flip == (m.dx < 0); /* what is outside comes after them */

    if (behind)
        memset(out + n * c, 0, (w - n) * c * sizeof(*out));
    else
        memset(out, 0, (w - n) * c * sizeof(*out));
    out += behind ? 0 : (w - n) * c;
    in += from * c;
    if (!m.flip)
        memcpy(out, in, n * c * sizeof(*out));
    else if (c == 1)
        mirror_plane(n, in, out);
    else
        mirror(n, c, in, out);
}

static void move_image(struct image image, struct device_move m, const float *in,
                       float *out)
{
    size_t row = image.w * image.c;

    for (size_t i = 0; i < image.h; i++, out += row) {
        ptrdiff_t y = (ptrdiff_t)i + m.dy;
        if (y >= 0 && y < (ptrdiff_t)image.h)
            move_row(image, m, in + (size_t)y * row, out);
        else
            memset(out, 0, row * sizeof(*out));
    }
}

void cpu_gather(struct device *d, const struct device_gather *g, size_t rows, float *out)
{
    size_t n = g->features, image = g->moves ? image_size(g->image) : 0;
    size_t between = (size_t)(g->planes > 1) + (g->moves != NULL);
    float *space =
        between ? cpu_space((struct cpu *)d, between * n * sizeof(*space)) : out;

    if (!space)
        return;
    for (size_t r = 0; r < rows; r++, out += n) {
        float *now = between ? space : out;
        normalise(g, (const char *)g->x + g->index[r] * g->stride, now);
        if (g->moves) {
            float *moved = g->planes > 1 ? space + n : out;
            for (size_t i = 0; i < n; i += image)
                move_image(g->image, g->moves[r], now + i, moved + i);
            now = moved;
        }
        if (g->planes > 1)
            interleave(g->planes, n / g->planes, now, out);
    }
}
