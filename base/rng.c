#include "base/rng.h"

#include <Random123/philox.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void rng_u128(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b, uint32_t c,
              uint64_t out[2])
{
    philox4x32_ctr_t counter = {{a, b, c, (uint32_t)stream}};
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t r = philox4x32_R(10, counter, key);
    out[0] = r.v[0] | (uint64_t)r.v[1] << 32;
    out[1] = r.v[2] | (uint64_t)r.v[3] << 32;
}

uint64_t rng_u64(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b,
                 uint32_t c)
{
    uint64_t out[2];

    rng_u128(seed, stream, a, b, c, out);
    return out[0];
}

double rng_unit(uint64_t seed, enum rng_stream stream, uint32_t a, uint32_t b, uint32_t c)
{
    return (double)(rng_u64(seed, stream, a, b, c) >> 11) * 0x1p-53;
}

void rng_secret(void *buf, size_t n)
{
    unsigned char *p = buf;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) /* a kernel before 3.17; a guessable nonce would be worse */
            abort();
        p += got;
        n -= (size_t)got;
    }
}
