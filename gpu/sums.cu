/* Kernels that add up many elements. Rows [n][cols] are cut into chunks, as many as the
 * shape says. A block has 32 columns and a chunk; LANES threads a column take turns with
 * its rows, and add a few in float and these in double. Then the lanes are added up, in
 * their order, and by a second kernel the chunks. */
#include "gpu/launch.cuh"

enum { COLS = 32, LANES = 8 };
enum { ROWS = 8 };         /* that are in a thread's registers at once */
enum { IN_FLOAT = 32 };    /* rows that a thread adds in float */
enum { CHUNK_ROWS = 512 }; /* a chunk has so many at least */
enum { BLOCKS = 512 };     /* and there are so many blocks at most */

static size_t tiles_of(size_t cols)
{
    return (cols + COLS - 1) / COLS;
}

static size_t chunks_of(size_t n, size_t cols)
{
    size_t most = BLOCKS / tiles_of(cols), chunks = n / CHUNK_ROWS;

    if (chunks > most)
        chunks = most;
    return chunks ? chunks : 1;
}

static dim3 grid_of(size_t n, size_t cols)
{
    return dim3((unsigned)tiles_of(cols), (unsigned)chunks_of(n, cols));
}

static const dim3 block_shape(COLS, LANES);

/* Where a chunk begins; the next one's beginning is its end. */
static __device__ __forceinline__ size_t chunk_at(size_t n, size_t k, size_t chunks)
{
    return n * k / chunks;
}

/* What chunks come to, [chunks][cols]; behind it, floats [3][cols]. */
struct pair {
    double a, b;
};

size_t kernel_sums_space(size_t n, size_t cols)
{
    return chunks_of(n, cols) * cols * sizeof(struct pair) + 3 * cols * sizeof(float);
}

static float *floats_behind(void *space, size_t n, size_t cols)
{
    return (float *)((struct pair *)space + chunks_of(n, cols) * cols);
}

/* ---- sums of columns ---- */

/* Adds what the lanes of a block's columns have; the sum is lane 0's. */
static __device__ struct pair add_lanes(struct pair own)
{
    __shared__ struct pair all[LANES][COLS];
    struct pair sum = own;

    all[threadIdx.y][threadIdx.x] = own;
    __syncthreads();
    for (int i = 1; i < LANES && threadIdx.y == 0; i++) {
        sum.a += all[i][threadIdx.x].a;
        sum.b += all[i][threadIdx.x].b;
    }
    return sum;
}

/* Sums of term(row, col, &a, &b) over the rows of each chunk. */
template <typename F>
static __global__ void chunk_sums(size_t n, size_t cols, struct pair *chunk, F term)
{
    size_t col = (size_t)blockIdx.x * COLS + threadIdx.x;
    size_t from = chunk_at(n, blockIdx.y, gridDim.y),
           to = chunk_at(n, blockIdx.y + 1, gridDim.y);
    struct pair total = {0, 0};

    for (; from < to && col < cols; from += LANES * IN_FLOAT) {
        float a = 0, b = 0;
#pragma unroll 8
        for (int i = 0; i < IN_FLOAT; i++) {
            size_t r = from + i * LANES + threadIdx.y;
            if (r < to)
                term(r, col, &a, &b);
        }
        total.a += (double)a;
        total.b += (double)b;
    }
    total = add_lanes(total);
    if (threadIdx.y == 0 && col < cols)
        chunk[blockIdx.y * cols + col] = total;
}

/* The sum over the chunks of a column, lane 0's. All threads of the block come here. */
static __device__ struct pair all_chunks(size_t chunks, size_t cols, size_t col,
                                         const struct pair *chunk)
{
    struct pair total = {0, 0};

    for (size_t k = threadIdx.y; k < chunks && col < cols; k += LANES) {
        total.a += chunk[k * cols + col].a;
        total.b += chunk[k * cols + col].b;
    }
    return add_lanes(total);
}

static __global__ void finish_sums(size_t chunks, size_t cols, const struct pair *chunk,
                                   float *sum)
{
    size_t col = (size_t)blockIdx.x * COLS + threadIdx.x;
    struct pair total = all_chunks(chunks, cols, col, chunk);

    if (threadIdx.y == 0 && col < cols)
        sum[col] = (float)total.a;
}

cudaError_t kernel_column_sums(cudaStream_t s, size_t n, size_t cols, const float *y,
                               const float *dy, float *to, float *sum, void *space)
{
    struct pair *chunk = (struct pair *)space;

    chunk_sums<<<grid_of(n, cols), block_shape, 0, s>>>(
        n, cols, chunk, [=] __device__(size_t r, size_t c, float *a, float *) {
            size_t i = r * cols + c;
            float g = dy[i];
            if (y) {
                g = arith_activate_backward(true, y[i], g);
                to[i] = g;
            }
            *a += g;
        });
    finish_sums<<<(unsigned)tiles_of(cols), block_shape, 0, s>>>(chunks_of(n, cols), cols,
                                                                 chunk, sum);
    return cudaGetLastError();
}

/* ---- batch normalisation, forward ---- */

/* Merges what the lanes have, each of so many rows; lane 0 returns all, *rows theirs. */
static __device__ struct arith_moments merge_lanes(struct arith_moments own, double *rows)
{
    __shared__ struct arith_moments all[LANES][COLS];
    __shared__ double n[LANES][COLS];

    all[threadIdx.y][threadIdx.x] = own;
    n[threadIdx.y][threadIdx.x] = *rows;
    __syncthreads();
    for (int i = 1; i < LANES && threadIdx.y == 0; i++) {
        arith_merge(*rows, &own, n[i][threadIdx.x], all[i][threadIdx.x]);
        *rows += n[i][threadIdx.x];
    }
    return own;
}

/* Of up to ROWS rows of a column, by two passes over registers. */
static __device__ struct arith_moments few_moments(const float *x, size_t cols, int n)
{
    struct arith_moments m;
    float v[ROWS], sum = 0, squares = 0;

#pragma unroll
    for (int i = 0; i < ROWS; i++)
        v[i] = i < n ? x[i * cols] : 0;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
        sum += v[i];
    float mean = sum / (float)n;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
        squares += i < n ? (v[i] - mean) * (v[i] - mean) : 0;
    m.mean = (double)mean;
    m.squares = (double)squares;
    return m;
}

static __global__ void chunk_moments(size_t n, size_t cols, const float *x,
                                     struct arith_moments *chunk)
{
    size_t col = (size_t)blockIdx.x * COLS + threadIdx.x;
    size_t from = chunk_at(n, blockIdx.y, gridDim.y),
           to = chunk_at(n, blockIdx.y + 1, gridDim.y);
    struct arith_moments m = {0, 0};
    double rows = 0;

    for (size_t r = from + threadIdx.y * ROWS; r < to && col < cols; r += LANES * ROWS) {
        int few = to - r < ROWS ? (int)(to - r) : ROWS;
        arith_merge(rows, &m, few, few_moments(x + r * cols + col, cols, few));
        rows += few;
    }
    m = merge_lanes(m, &rows);
    if (threadIdx.y == 0 && col < cols)
        chunk[blockIdx.y * cols + col] = m;
}

/* By the share of the way that `momentum` is. */
static __device__ void move(float *running, double to, float momentum)
{
    *running = (float)((1 - (double)momentum) * (double)*running + (double)momentum * to);
}

static __device__ float rstd_of(double variance, float epsilon)
{
    return (float)(1 / sqrt(variance + (double)epsilon));
}

static __global__ void finish_moments(struct device_batch_norm b, size_t chunks,
                                      const struct arith_moments *chunk, float *scale)
{
    size_t col = (size_t)blockIdx.x * COLS + threadIdx.x;
    struct arith_moments m = {0, 0};
    double rows = 0;

    for (size_t k = threadIdx.y; k < chunks && col < b.channels; k += LANES) {
        double n = (double)(chunk_at(b.n, k + 1, chunks) - chunk_at(b.n, k, chunks));
        arith_merge(rows, &m, n, chunk[k * b.channels + col]);
        rows += n;
    }
    m = merge_lanes(m, &rows);
    if (threadIdx.y > 0 || col >= b.channels)
        return;
    b.mean[col] = (float)m.mean;
    b.rstd[col] = rstd_of(m.squares / rows, b.epsilon);
    scale[col] = b.weight[col] * b.rstd[col];
    move(&b.running_mean[col], m.mean, b.momentum);
    move(&b.running_var[col], b.n > 1 ? m.squares / (rows - 1) : m.squares, b.momentum);
}

/* y = act((x - mean) * scale + bias) */
static cudaError_t apply(cudaStream_t s, const struct device_batch_norm *b,
                         const float *x, const float *mean, const float *scale, float *y)
{
    size_t cols = b->channels;
    const float *bias = b->bias;
    bool relu = b->activation == ACTIVATION_RELU;

    return each(s, b->n * cols, [=] __device__(size_t i) {
        size_t c = i % cols;
        y[i] = arith_activate(relu, (x[i] - mean[c]) * scale[c] + bias[c]);
    });
}

static_assert(sizeof(struct arith_moments) == sizeof(struct pair), "one space for both");

cudaError_t kernel_batch_norm(cudaStream_t s, const struct device_batch_norm *b,
                              const float *x, float *y, void *space)
{
    size_t n = b->n, cols = b->channels;
    struct arith_moments *chunk = (struct arith_moments *)space;
    float *scale = floats_behind(space, n, cols);

    chunk_moments<<<grid_of(n, cols), block_shape, 0, s>>>(n, cols, x, chunk);
    finish_moments<<<(unsigned)tiles_of(cols), block_shape, 0, s>>>(
        *b, chunks_of(n, cols), chunk, scale);
    return apply(s, b, x, b->mean, scale, y);
}

cudaError_t kernel_batch_norm_running(cudaStream_t s, const struct device_batch_norm *b,
                                      const float *x, float *y, void *space)
{
    float *scale = floats_behind(space, b->n, b->channels), epsilon = b->epsilon;
    const float *weight = b->weight, *variance = b->running_var;
    cudaError_t rc = each(s, b->channels, [=] __device__(size_t c) {
        scale[c] = weight[c] * rstd_of((double)variance[c], epsilon);
    });

    return rc != cudaSuccess ? rc : apply(s, b, x, b->running_mean, scale, y);
}

/* ---- batch normalisation, backward ---- */

/* dy where y, which is found as it was in forward, is above the activation's least. */
static __device__ __forceinline__ float passed(bool relu, float away, float scale,
                                               float bias, float dy)
{
    float least = relu ? 0 : -INFINITY;

    return away * scale + bias <= least ? 0 : dy;
}

/* What the chunks' sums of g and of g (x - mean) come to. */
static __global__ void finish_backward(struct device_batch_norm b, size_t chunks,
                                       const struct pair *chunk, float *dweight,
                                       float *dbias, float *mean_dy, float *slope)
{
    size_t col = (size_t)blockIdx.x * COLS + threadIdx.x;
    struct pair total = all_chunks(chunks, b.channels, col, chunk);

    if (threadIdx.y > 0 || col >= b.channels)
        return;
    double rstd = (double)b.rstd[col], n = (double)b.n;
    dbias[col] = (float)total.a;
    dweight[col] = (float)(total.b * rstd);
    mean_dy[col] = (float)(total.a / n);
    slope[col] = (float)(total.b * rstd * rstd / n);
}

cudaError_t kernel_batch_norm_backward(cudaStream_t s, const struct device_batch_norm *b,
                                       const float *x, const float *dy, float *dweight,
                                       float *dbias, float *dx, void *space)
{
    size_t n = b->n, cols = b->channels;
    struct pair *chunk = (struct pair *)space;
    float *scale = floats_behind(space, n, cols), *mean_dy = scale + cols,
          *slope = mean_dy + cols;
    const float *mean = b->mean, *bias = b->bias, *weight = b->weight, *rstd = b->rstd;
    bool relu = b->activation == ACTIVATION_RELU;
    cudaError_t rc =
        each(s, cols, [=] __device__(size_t c) { scale[c] = weight[c] * rstd[c]; });

    if (rc != cudaSuccess)
        return rc;
    chunk_sums<<<grid_of(n, cols), block_shape, 0, s>>>(
        n, cols, chunk, [=] __device__(size_t r, size_t c, float *sum, float *product) {
            size_t i = r * cols + c;
            float away = x[i] - mean[c];
            float g = passed(relu, away, scale[c], bias[c], dy[i]);
            *sum += g;
            *product += g * away;
        });
    finish_backward<<<(unsigned)tiles_of(cols), block_shape, 0, s>>>(
        *b, chunks_of(n, cols), chunk, dweight, dbias, mean_dy, slope);
    if (!dx)
        return cudaGetLastError();
    return each(s, n * cols, [=] __device__(size_t i) {
        size_t c = i % cols;
        float away = x[i] - mean[c];
        float g = passed(relu, away, scale[c], bias[c], dy[i]);
        dx[i] = scale[c] * (g - mean_dy[c] - away * slope[c]);
    });
}

/* ---- the loss ---- */

enum { WARP = 32 };
#define WHOLE_WARP 0xffffffffu

/* Of the row that a warp has; every thread returns it. */
static __device__ float warp_sum(float v)
{
    for (int d = WARP / 2; d > 0; d /= 2)
        v += __shfl_xor_sync(WHOLE_WARP, v, d);
    return v;
}

static __device__ double warp_sum(double v)
{
    for (int d = WARP / 2; d > 0; d /= 2)
        v += __shfl_xor_sync(WHOLE_WARP, v, d);
    return v;
}

/* The place of the row's largest number, the first of several; 0 if the first is a NaN.
 */
static __device__ uint32_t warp_best(const float *row, uint32_t n, uint32_t lane)
{
    float best = -INFINITY;
    uint32_t at = UINT32_MAX;

    for (uint32_t c = lane; c < n; c += WARP)
        if (arith_beats(row[c], c, best, at)) {
            best = row[c];
            at = c;
        }
    for (int d = WARP / 2; d > 0; d /= 2) {
        float other = __shfl_xor_sync(WHOLE_WARP, best, d);
        uint32_t there = __shfl_xor_sync(WHOLE_WARP, at, d);
        if (arith_beats(other, there, best, at)) {
            best = other;
            at = there;
        }
    }
    return row[0] != row[0] || at == UINT32_MAX ? 0 : at;
}

/* A row's loss, and whether it was right. */
struct outcome {
    double loss;
    double correct;
};

size_t kernel_loss_space(size_t rows)
{
    return rows * sizeof(struct outcome);
}

/* A warp a row. */
static __global__ void row_losses(size_t rows, uint32_t classes, const float *logits,
                                  const int32_t *labels, const uint32_t *index,
                                  float smoothing, float share, float *gradient,
                                  struct outcome *outcome)
{
    size_t r = own_element() / WARP;
    uint32_t lane = threadIdx.x % WARP;
    float spread = smoothing / (float)classes, sum = 0;
    double away = 0;

    if (r >= rows) /* the whole warp */
        return;
    const float *row = logits + r * classes;
    uint32_t label = (uint32_t)labels[index[r]], at = warp_best(row, classes, lane);
    float best = row[at];

    for (uint32_t c = lane; c < classes; c += WARP) {
        sum += expf(row[c] - best);
        away += (double)(row[c] - best);
    }
    sum = warp_sum(sum);
    away = warp_sum(away);
    if (lane == 0) {
        float shifted = row[label] - best;
        if (smoothing > 0)
            shifted = (float)((double)(1 - smoothing) * (double)shifted +
                              (double)spread * away);
        outcome[r].loss = (double)(logf(sum) - shifted);
        outcome[r].correct = at == label;
    }
    if (!gradient)
        return;
    gradient += r * classes;
    for (uint32_t c = lane; c < classes; c += WARP) {
        float g = expf(row[c] - best) / sum * share - spread * share;
        gradient[c] = c == label ? g - (1 - smoothing) * share : g;
    }
}

/* One block: adds the rows up, each thread its own, and then the threads'. */
static __global__ void add_losses(size_t rows, const struct outcome *outcome,
                                  struct device_totals *totals)
{
    __shared__ struct outcome all[THREADS];
    struct outcome sum = {0, 0};

    for (size_t r = threadIdx.x; r < rows; r += THREADS) {
        sum.loss += outcome[r].loss;
        sum.correct += outcome[r].correct;
    }
    all[threadIdx.x] = sum;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            all[threadIdx.x].loss += all[threadIdx.x + half].loss;
            all[threadIdx.x].correct += all[threadIdx.x + half].correct;
        }
    }
    if (threadIdx.x == 0) {
        totals->loss += all[0].loss;
        totals->correct += all[0].correct;
    }
}

cudaError_t kernel_softmax_loss(cudaStream_t s, size_t rows, size_t classes,
                                const float *logits, const int32_t *labels,
                                const uint32_t *index, float smoothing, float share,
                                float *gradient, struct device_totals *totals,
                                void *space)
{
    struct outcome *outcome = (struct outcome *)space;

    if (rows == 0)
        return cudaSuccess;
    row_losses<<<blocks_for(rows * WARP), THREADS, 0, s>>>(
        rows, (uint32_t)classes, logits, labels, index, smoothing, share, gradient,
        outcome);
    add_losses<<<1, THREADS, 0, s>>>(rows, outcome, totals);
    return cudaGetLastError();
}
