/* Samples that are made, not read: bytes with something to learn in them.
 *
 * Each axis of a sample is cut into a few stretches, which cuts the sample into cells.
 * A cell has a level: one that its class has there, plus one that only this sample has.
 * On it lies noise, byte by byte, from one table of random bytes that each sample reads
 * from another place: drawing every byte would take longer than training does. Classes
 * are apart so far that of 10000 samples of 10 classes a dense network learns to tell
 * some 0.92 to 0.95, whether they are 784 or 32x32x3: neither nothing nor everything. */
#include "worker/train/data.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/suggest.h"
#include "worker/train/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOISE      65536 /* bytes in the table of noise */
#define NOISE_BITS 6
#define NOISE_SPAN (1 << NOISE_BITS)

#define MIDDLE     128.0
#define SPREAD     16.0 /* standard deviation of a cell's level within a class */
#define SEPARATION 14.0 /* of two classes: distance^2 / (2 SPREAD^2), over all cells */

struct synthetic {
    int ndim;
    size_t dim[SAMPLE_DIMS];
    size_t features, samples, classes;
};

/* ---- the text ---- */

static int parse_number(const char *source, const char *text, size_t n, size_t most,
                        size_t *v, struct err *e)
{
    int64_t got;

    if (num_parse_int(text, n, &got) < 0 || got < 1 || (size_t)got > most)
        return err_set(e, ERR_INVAL, "%s: '%.*s' is no whole number from 1 to %zu",
                       source, (int)n, text, most);
    *v = (size_t)got;
    return 0;
}

static int parse_shape(const char *source, const char *text, size_t n,
                       struct synthetic *s, struct err *e)
{
    s->features = 1;
    for (const char *end = text + n; text <= end;) {
        const char *x = memchr(text, 'x', (size_t)(end - text));
        size_t length = (size_t)((x ? x : end) - text);
        if (s->ndim == SAMPLE_DIMS)
            return err_set(e, ERR_INVAL, "%s: more than %d dimensions", source,
                           SAMPLE_DIMS);
        int rc = parse_number(source, text, length, INT32_MAX, &s->dim[s->ndim], e);
        if (rc < 0)
            return rc;
        if (__builtin_mul_overflow(s->features, s->dim[s->ndim], &s->features) ||
            s->features > INT32_MAX)
            return err_set(e, ERR_INVAL, "%s: a sample has too many numbers", source);
        s->ndim++;
        text += length + 1;
    }
    return 0;
}

static int parse_setting(const char *source, const char *text, size_t n,
                         struct synthetic *s, struct err *e)
{
    static const char *const names[] = {"samples", "classes"};
    const char *equals = memchr(text, '=', n);
    size_t length = equals ? (size_t)(equals - text) : n;
    char *name = mem_strndup(text, length);
    const char *near = suggest(name, names, 2);
    bool samples = strcmp(name, names[0]) == 0, classes = strcmp(name, names[1]) == 0;
    int rc;

    if (equals && (samples || classes))
        rc = parse_number(source, equals + 1, n - length - 1,
                          samples ? UINT32_MAX - 1 : CLASSES_MAX,
                          samples ? &s->samples : &s->classes, e);
    else
        rc = err_set(e, ERR_INVAL,
                     "%s: '%.*s' is unknown%s%s%s; what can follow the shape is "
                     "samples=N and classes=N",
                     source, (int)n, text, near ? " (did you mean '" : "",
                     near ? near : "", near ? "='?)" : "");
    free(name);
    return rc;
}

static int parse(const char *source, struct synthetic *s, struct err *e)
{
    const char *text = source + strlen(SAMPLES_SYNTHETIC);
    size_t n;

    *s = (struct synthetic){.samples = 10000, .classes = 10};
    if (*text++ != ':' || *text == '\0' || *text == ',')
        return err_set(e, ERR_INVAL,
                       "%s: the shape of a sample is missing, as in synthetic:32x32x3 or "
                       "synthetic:784,samples=50000,classes=100",
                       source);
    n = strcspn(text, ",");
    int rc = parse_shape(source, text, n, s, e);
    while (rc == 0 && text[n] == ',') {
        text += n + 1;
        n = strcspn(text, ",");
        rc = parse_setting(source, text, n, s, e);
    }
    if (rc == 0 && s->samples < s->classes)
        rc = err_set(e, ERR_INVAL, "%s: fewer samples than classes, %zu and %zu", source,
                     s->samples, s->classes);
    return rc;
}

/* ---- the samples ---- */

/* The cell of each feature into cell[features]; returns how many there are. */
static size_t cut(const struct synthetic *s, uint32_t *cell)
{
    size_t cells = 1, inner = s->features, most = s->ndim == 1 ? 16 : 4;

    memset(cell, 0, s->features * sizeof(*cell));
    for (int k = 0; k < s->ndim; k++) {
        size_t n = s->dim[k], parts = n < most ? n : most;
        inner /= n;
        for (size_t f = 0; f < s->features; f++)
            cell[f] = (uint32_t)(cell[f] * parts + f / inner % n * parts / n);
        cells *= parts;
    }
    return cells;
}

/* Uniform with mean 0 and deviation 1. */
static double draw(enum draw what, size_t a, size_t b)
{
    return sqrt(12) *
           (rng_unit(0, RNG_TRAIN, (uint32_t)a, (uint32_t)b, (uint32_t)what) - 0.5);
}

/* Room for the longest row behind the last place that one may begin at. */
static uint8_t *make_noise(size_t features)
{
    size_t n = NOISE + features;
    uint8_t *noise = mem_alloc(n);

    for (size_t i = 0; i < n; i++) {
        if (i >= NOISE) {
            noise[i] = noise[i - NOISE];
            continue;
        }
        uint64_t bits = rng_u64(0, RNG_TRAIN, 0, (uint32_t)i, DRAW_SYNTHETIC_NOISE);
        noise[i] = (uint8_t)(bits >> (64 - NOISE_BITS));
    }
    return noise;
}

static void make_row(size_t n, const uint32_t *cell, const uint8_t *level,
                     const uint8_t *noise, uint8_t *x)
{
    for (size_t f = 0; f < n; f++)
        x[f] = (uint8_t)(level[cell[f]] + noise[f]);
}

/* What noise from 0 to NOISE_SPAN - 1 is added to. */
static uint8_t level_below(double v)
{
    return (uint8_t)fmin(fmax(floor(v + 0.5) - NOISE_SPAN / 2, 0), 256 - NOISE_SPAN);
}

static void make(const struct synthetic *s, uint8_t *x, int32_t *y)
{
    uint32_t *cell = mem_resize(NULL, s->features, sizeof(*cell));
    size_t cells = cut(s, cell);
    double apart = SPREAD * sqrt(SEPARATION / (double)cells);
    uint8_t *level = mem_alloc(cells), *noise = make_noise(s->features);

    for (size_t i = 0; i < s->samples; i++, x += s->features) {
        size_t class = i % s->classes;
        uint64_t at = rng_u64(0, RNG_TRAIN, 1, (uint32_t)i, DRAW_SYNTHETIC_NOISE);
        for (size_t c = 0; c < cells; c++)
            level[c] = level_below(MIDDLE + apart * draw(DRAW_SYNTHETIC_CLASS, class, c) +
                                   SPREAD * draw(DRAW_SYNTHETIC_SAMPLE, i, c));
        make_row(s->features, cell, level, noise + at % NOISE, x);
        y[i] = (int32_t) class;
    }
    free(cell);
    free(level);
    free(noise);
}

int samples_synthesize(const char *source, struct samples *s, struct err *e)
{
    struct synthetic made;
    int rc = parse(source, &made, e);

    *s = (struct samples){.bytes = STR_INIT};
    if (rc == 0)
        rc = samples_fit_memory(source, (double)made.samples * (double)made.features, e);
    if (rc < 0)
        return rc;
    s->name = mem_strdup(source);
    s->n = made.samples;
    s->ndim = made.ndim;
    memcpy(s->dim, made.dim, sizeof(s->dim));
    s->features = s->stride = made.features;
    s->classes = made.classes;
    s->type = SAMPLE_U8;
    str_reserve(&s->bytes, s->n * s->features);
    s->x = s->bytes.p;
    s->y = mem_resize(NULL, s->n, sizeof(*s->y));
    make(&made, (uint8_t *)s->bytes.p, s->y);
    return 0;
}
