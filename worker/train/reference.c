#include "worker/train/reference.h"

#include "base/mem.h"
#include "base/rng.h"
#include "worker/train/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where image i has (row, column), of which `pad` are outside; -1 outside. */
static long place(struct image image, size_t i, size_t pad, size_t row, size_t col)
{
    if (row < pad || row - pad >= image.h || col < pad || col - pad >= image.w)
        return -1;
    return (long)(((i * image.h + row - pad) * image.w + col - pad) * image.c);
}

struct conv {
    enum reference_target target;
    const double *x, *weight, *y;
    double *result, *magnitude;
};

static void multiply(const struct conv *c, size_t x, size_t weight, size_t y)
{
    double product = c->target == REFERENCE_X        ? c->weight[weight] * c->y[y]
                     : c->target == REFERENCE_WEIGHT ? c->x[x] * c->y[y]
                                                     : c->x[x] * c->weight[weight];
    size_t at = c->target == REFERENCE_X ? x : c->target == REFERENCE_WEIGHT ? weight : y;

    c->result[at] += product;
    if (c->magnitude)
        c->magnitude[at] += fabs(product);
}

/* All that meets one element of y. */
static void conv_at(const struct device_slide *s, const struct conv *c, size_t i,
                    size_t oy, size_t ox, size_t o)
{
    size_t size = s->window.size, stride = s->window.stride;
    size_t y = ((i * s->out.h + oy) * s->out.w + ox) * s->out.c + o;

    for (size_t k = 0; k < size * size; k++) {
        long x = place(s->in, i, s->window.pad, oy * stride + k / size,
                       ox * stride + k % size);
        for (size_t in = 0; in < s->in.c && x >= 0; in++)
            multiply(c, (size_t)x + in, (o * size * size + k) * s->in.c + in, y);
    }
}

void reference_conv(const struct device_slide *s, enum reference_target target,
                    const double *x, const double *weight, const double *y,
                    double *result, double *magnitude)
{
    struct conv c = {target, x, weight, y, result, magnitude};
    size_t n = target == REFERENCE_X ? s->rows * image_size(s->in)
               : target == REFERENCE_Y
                   ? s->rows * image_size(s->out)
                   : s->out.c * s->window.size * s->window.size * s->in.c;

    memset(result, 0, n * sizeof(*result));
    if (magnitude)
        memset(magnitude, 0, n * sizeof(*magnitude));
    for (size_t i = 0; i < s->rows; i++)
        for (size_t oy = 0; oy < s->out.h; oy++)
            for (size_t ox = 0; ox < s->out.w; ox++)
                for (size_t o = 0; o < s->out.c; o++)
                    conv_at(s, &c, i, oy, ox, o);
}

void reference_max_pool(const struct device_slide *s, const double *x, size_t *places)
{
    size_t size = s->window.size, stride = s->window.stride, c = s->out.c;

    for (size_t y = 0; y < s->rows * image_size(s->out); y++) {
        size_t ox = y / c % s->out.w, oy = y / c / s->out.w % s->out.h;
        size_t i = y / image_size(s->out);
        bool found = false;
        for (size_t k = 0; k < size * size; k++) {
            long at = place(s->in, i, s->window.pad, oy * stride + k / size,
                            ox * stride + k % size);
            size_t here = (size_t)at + y % c;
            if (at < 0 || (found && !(x[here] > x[places[y]])))
                continue;
            places[y] = here;
            found = true;
        }
    }
}

static void dense(const struct layer *l, const double *weight, size_t rows,
                  const double *x, double *y)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < l->out; o++) {
            double z = 0;
            for (size_t i = 0; i < l->in; i++)
                z += x[r * l->in + i] * weight[o * l->in + i];
            y[r * l->out + o] = z;
        }
}

static void max_pool(const struct device_slide *s, const double *x, double *y)
{
    size_t n = s->rows * image_size(s->out);
    size_t *places = mem_resize(NULL, n, sizeof(*places));

    reference_max_pool(s, x, places);
    for (size_t i = 0; i < n; i++)
        y[i] = x[places[i]];
    free(places);
}

static void global_avg_pool(size_t rows, struct image in, const double *x, double *y)
{
    size_t places = in.h * in.w;

    for (size_t i = 0; i < rows * in.c; i++) {
        double sum = 0;
        for (size_t p = 0; p < places; p++)
            sum += x[(i / in.c * places + p) * in.c + i % in.c];
        y[i] = sum / (double)places;
    }
}

void reference_moments(size_t n, size_t channels, const double *x, double *mean,
                       double *variance)
{
    *mean = *variance = 0;
    for (size_t i = 0; i < n; i++)
        *mean += x[i * channels] / (double)n;
    for (size_t i = 0; i < n; i++)
        *variance += pow(x[i * channels] - *mean, 2) / (double)n;
}

/* All but the bias. */
static void batch_norm(const struct layer *l, const double *weight, const float *state,
                       size_t rows, const double *x, double *y)
{
    size_t c = l->in_image.c, n = rows * l->in / c;

    for (size_t i = 0; i < c; i++) {
        double mean, variance;
        if (state) {
            mean = (double)state[l->states[0].offset + i];
            variance = (double)state[l->states[1].offset + i];
        } else {
            reference_moments(n, c, x + i, &mean, &variance);
        }
        for (size_t k = i; k < n * c; k += c)
            y[k] = (x[k] - mean) / sqrt(variance + (double)1e-5f) * weight[i];
    }
}

static void dropout(const struct layer *l, const struct batch *b, const double *x,
                    double *y)
{
    uint64_t seed =
        rng_u64(b->seed, RNG_TRAIN, (uint32_t)b->step, l->draws, DRAW_DROPOUT);
    double keep = b->training ? 1 - l->dropout : 1;

    for (size_t i = 0; i < b->rows * l->out; i++) {
        size_t r = b->row + i / l->out, c = i % l->out;
        uint64_t draws[2];
        rng_u128(seed, RNG_TRAIN, (uint32_t)r, (uint32_t)(c / 8), DRAW_DROPOUT, draws);
        uint64_t draw = draws[c % 8 / 4] >> c % 4 * 16 & 0xffff;
        y[i] = (double)draw < keep * 65536 ? x[i] / keep : 0;
    }
}

void reference_layer(const struct layer *l, const double *values, const float *state,
                     const struct batch *b, const double *const x[], double *y)
{
    size_t rows = b->rows;
    const struct device_slide s = {rows, l->in_image, l->out_image, l->window};
    const double *weight = values + l->parameters[0].offset;
    const double *bias = l->n_parameters == 2 ? values + l->parameters[1].offset : NULL;

    if (l->kind == &layer_kind_max_pool)
        max_pool(&s, x[0], y);
    else if (l->kind == &layer_kind_conv)
        reference_conv(&s, REFERENCE_Y, x[0], weight, NULL, y, NULL);
    else if (l->kind == &layer_kind_dense)
        dense(l, weight, rows, x[0], y);
    else if (l->kind == &layer_kind_global_avg_pool)
        global_avg_pool(rows, l->in_image, x[0], y);
    else if (l->kind == &layer_kind_batch_norm)
        batch_norm(l, weight, state, rows, x[0], y);
    else if (l->kind == &layer_kind_add)
        for (size_t i = 0; i < rows * l->out; i++)
            y[i] = x[0][i] + x[1][i];
    else if (l->kind == &layer_kind_dropout)
        dropout(l, b, x[0], y);
    for (size_t i = 0; i < rows * l->out; i++) {
        double z = y[i] + (bias ? bias[i % l->out_image.c] : 0);
        y[i] = l->activation == ACTIVATION_RELU && z < 0 ? 0 : z;
    }
}

float *reference_numbers(size_t n, uint32_t which)
{
    float *v = mem_resize(NULL, n, sizeof(*v));

    for (size_t i = 0; i < n; i++)
        v[i] = (float)(2 * rng_unit(1, RNG_TEST, (uint32_t)i, which, 0) - 1);
    return v;
}

double *reference_widen(const float *v, size_t n)
{
    double *d = mem_resize(NULL, n, sizeof(*d));

    for (size_t i = 0; i < n; i++)
        d[i] = (double)v[i];
    return d;
}

void reference_poison(float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] = NAN;
}
