/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw,
 * "Parallel random numbers: as easy as 1, 2, 3", SC11; Random123's code).
 * No state: the same key gives the same number on every machine, in any order.
 *
 * stream keeps the uses apart (one name each below); a, b, c number the draw
 * within a stream, for instance trial, dimension, redraw. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

enum rng_stream {
    RNG_SEARCH = 1, /* a = trial, b = dimension, c = redraw */
    RNG_BRACKET,    /* a = trial */
    RNG_SCRAMBLE,   /* a = dimension */
    RNG_SEED,       /* a = trial: the seed that the program is given */
    RNG_TRAIN,      /* the trainer's own */
    RNG_TEST,
    RNG_FORECAST, /* a = trial */
    RNG_MODEL,    /* a = trial, b = candidate, c = which of its numbers */
    RNG_PARENT,   /* a = trial */
    RNG_EXPLORE,  /* a = trial, b = dimension, c = redraw */
};

uint64_t rng_u64(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b,
                 uint32_t c);
/* The same draw with all of its bits: out[0] is what rng_u64() gives. */
void rng_u128(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b, uint32_t c,
              uint64_t out[2]);
/* Uniform in [0, 1), 53 random bits. */
double rng_unit(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b,
                uint32_t c);

/* n bytes that nobody can guess, from the kernel: nonces and ids, never draws. */
void rng_secret(void *buf, size_t n);

#endif
