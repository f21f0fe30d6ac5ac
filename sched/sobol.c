#include "sched/search.h"
#include "sched/sobol_table.h"

#include "base/rng.h"

/* n <= 32 bits of the table from bit number `at` on. */
static uint32_t table_bits(uint32_t at, uint32_t n)
{
    const uint64_t *word = &sobol_words[at / 64];
    uint32_t shift = at % 64;
    uint64_t bits = word[0] >> shift;
    if (shift > 0)
        bits |= word[1] << (64 - shift);
    return (uint32_t)(bits & ((UINT64_C(1) << n) - 1));
}

static uint32_t reverse_bits(uint32_t x)
{
    x = (x & 0x55555555) << 1 | (x >> 1 & 0x55555555);
    x = (x & 0x33333333) << 2 | (x >> 2 & 0x33333333);
    x = (x & 0x0f0f0f0f) << 4 | (x >> 4 & 0x0f0f0f0f);
    return __builtin_bswap32(x);
}

/* The polynomial of a dimension and where its initial numbers are. */
struct generator {
    uint32_t degree, inner, bit;
};

static struct generator generator_of(uint32_t dim)
{
    uint32_t s = SOBOL_DEGREES;
    while (sobol_degrees[s - 1].dim > dim)
        s--;
    const struct sobol_degree *first = &sobol_degrees[s - 1];
    uint32_t bit = first->bit + (dim - first->dim) * (s - 1) * (s + 2) / 2;
    return (struct generator){s, table_bits(bit, s - 1), bit + s - 1};
}

/* Direction number j (from 0) from those before it: Joe and Kuo's recurrence. */
static uint32_t direction(const struct generator *g, const uint32_t v[], uint32_t j)
{
    uint32_t s = g->degree;
    if (j < s) {
        uint32_t odd = table_bits(g->bit + j * (j - 1) / 2, j) << 1 | 1;
        return odd << (31 - j);
    }
    uint32_t next = v[j - s] ^ v[j - s] >> s;
    for (uint32_t inner = g->inner, k = s - 1; inner; inner >>= 1, k--)
        if (inner & 1)
            next ^= v[j - k];
    return next;
}

/* In the order of the Gray code, as Joe and Kuo's program has it. Only the direction
 * numbers up to the highest bit of the index are needed, few for a sweep's indices. */
uint32_t sobol_bits(uint32_t dim, uint32_t index)
{
    uint32_t gray = index ^ index >> 1, x = 0, v[32];
    if (dim == 0)
        return reverse_bits(gray);
    struct generator g = generator_of(dim);
    for (uint32_t j = 0; j < 32 && gray >> j; j++) {
        v[j] = direction(&g, v, j);
        if (gray >> j & 1)
            x ^= v[j];
    }
    return x;
}

/* Changes each bit depending on the key and the lower bits only (Burley's listing of
 * the Laine-Karras permutation): between two bit reversals, an Owen scrambling. */
static uint32_t permute(uint32_t x, uint32_t key)
{
    x += key;
    x ^= x * 0x6c50b47c;
    x ^= x * 0xb82f1e52;
    x ^= x * 0xc7afe638;
    x ^= x * 0x8d22f6e6;
    return x;
}

double sobol_unit(uint64_t seed, uint32_t dim, uint32_t index)
{
    uint32_t key = (uint32_t)rng_u64(seed, RNG_SCRAMBLE, dim, 0, 0);
    uint32_t x = reverse_bits(permute(reverse_bits(sobol_bits(dim, index)), key));
    return (x + 0.5) * 0x1p-32; /* the middle of the cell: never 0 */
}
