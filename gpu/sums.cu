/* Kernels that add up many elements. Rows [n][cols] are cut into chunks, as many as the
 * shape says. A block has a tile of columns and a chunk; LANES threads a column take
 * turns with its rows, and add a few in float and these in double. Then the lanes are
 * added up, in their order, and by a second kernel the chunks. Of activations in 16 bits
 * a thread has two columns, and reads 32 bits as of others. */
#include "gpu/launch.cuh"

enum { COLS = 32, LANES = 8 }; /* threads of a block */
enum { ROWS = 8 };             /* that are in a thread's registers at once */
enum { IN_FLOAT = 32 };        /* rows that a thread adds in float */
enum { CHUNK_ROWS = 512 };     /* a chunk has so many at least */
enum { BLOCKS = 512 };         /* and there are so many blocks at most */

/* Columns of a thread. */
static int width_of(enum kernel_type t, size_t cols)
{
    return t != KERNEL_FP32 && cols % 2 == 0 ? 2 : 1;
}

/* How rows are cut for a kernel whose threads have so many columns. */
struct cut {
    size_t n, cols, tiles, chunks;
};

static struct cut cut_of(size_t n, size_t cols, int width)
{
    size_t tile = (size_t)COLS * width, tiles = (cols + tile - 1) / tile,
           most = BLOCKS / tiles, chunks = n / CHUNK_ROWS;

    if (chunks > most)
        chunks = most;
    return {n, cols, tiles, chunks ? chunks : 1};
}

static dim3 grid_of(const struct cut &c)
{
    return dim3((unsigned)c.tiles, (unsigned)c.chunks);
}

/* Of a kernel that adds the chunks up, a column a thread. */
static unsigned columns_grid(size_t cols)
{
    return (unsigned)((cols + COLS - 1) / COLS);
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

static size_t sums_space(const struct cut &c)
{
    return c.chunks * c.cols * sizeof(struct pair) + 3 * c.cols * sizeof(float);
}

size_t kernel_sums_space(enum kernel_type t, size_t n, size_t cols)
{
    return sums_space(cut_of(n, cols, width_of(t, cols)));
}

static float *floats_behind(void *space, const struct cut &c)
{
    return (float *)((struct pair *)space + c.chunks * c.cols);
}

/* The columns that a thread has of a row. */
template <typename T, int W> struct alignas(sizeof(T) * W) columns {
    T v[W];
};

template <typename T, int W>
static __device__ __forceinline__ void load_columns(const T *x, float v[W])
{
    columns<T, W> all = *(const columns<T, W> *)x;

#pragma unroll
    for (int w = 0; w < W; w++)
        v[w] = arith_widen(all.v[w]);
}

template <typename T, int W>
static __device__ __forceinline__ void store_columns(T *y, const float v[W])
{
    columns<T, W> all;

#pragma unroll
    for (int w = 0; w < W; w++)
        arith_narrow(v[w], &all.v[w]);
    *(columns<T, W> *)y = all;
}

/* f<T, W>(...), T being what activations of a type are and W the columns of a thread. */
#define BY_COLUMNS(type, cols, f, ...)                                                   \
    ((type) == KERNEL_FP32 ? f<float, 1>(__VA_ARGS__)                                    \
     : width_of(type, cols) == 1                                                         \
         ? ((type) == KERNEL_BF16 ? f<__nv_bfloat16, 1>(__VA_ARGS__)                     \
                                  : f<__half, 1>(__VA_ARGS__))                           \
         : ((type) == KERNEL_BF16 ? f<__nv_bfloat16, 2>(__VA_ARGS__)                     \
                                  : f<__half, 2>(__VA_ARGS__)))

/* ---- sums of columns ---- */

/* Adds what the lanes of a block's columns have; the sum is lane 0's. */
static __device__ struct pair add_lanes(struct pair own)
{
    __shared__ struct pair all[LANES][COLS];
    struct pair sum = own;

    __syncthreads(); /* those of the column before are read */
    all[threadIdx.y][threadIdx.x] = own;
    __syncthreads();
    for (int i = 1; i < LANES && threadIdx.y == 0; i++) {
        sum.a += all[i][threadIdx.x].a;
        sum.b += all[i][threadIdx.x].b;
    }
    return sum;
}

/* Sums of what term(row, col, a, b) adds to a [W] and b [W] of columns col on, over the
 * rows of each chunk. */
template <int W, typename F>
static __global__ void chunk_sums(size_t n, size_t cols, struct pair *chunk, F term)
{
    size_t col = ((size_t)blockIdx.x * COLS + threadIdx.x) * W;
    size_t from = chunk_at(n, blockIdx.y, gridDim.y),
           to = chunk_at(n, blockIdx.y + 1, gridDim.y);
    struct pair total[W] = {};

    for (; from < to && col < cols; from += LANES * IN_FLOAT) {
        float a[W] = {}, b[W] = {};
#pragma unroll 8
        for (int i = 0; i < IN_FLOAT; i++) {
            size_t r = from + i * LANES + threadIdx.y;
            if (r < to)
                term(r, col, a, b);
        }
#pragma unroll
        for (int w = 0; w < W; w++) {
            total[w].a += (double)a[w];
            total[w].b += (double)b[w];
        }
    }
#pragma unroll
    for (int w = 0; w < W; w++) {
        total[w] = add_lanes(total[w]);
        if (threadIdx.y == 0 && col < cols)
            chunk[blockIdx.y * cols + col + w] = total[w];
    }
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

template <typename T, int W>
static cudaError_t column_sums_of(cudaStream_t s, size_t n, size_t cols, const void *of,
                                  const void *from, void *masked, float *sum, void *space)
{
    struct pair *chunk = (struct pair *)space;
    struct cut cut = cut_of(n, cols, W);
    const T *y = (const T *)of, *dy = (const T *)from;
    T *to = (T *)masked;

    chunk_sums<W><<<grid_of(cut), block_shape, 0, s>>>(
        n, cols, chunk, [=] __device__(size_t r, size_t c, float *a, float *) {
            size_t i = r * cols + c;
            float g[W], z[W];
            load_columns<T, W>(dy + i, g);
            if (y)
                load_columns<T, W>(y + i, z);
#pragma unroll
            for (int w = 0; w < W; w++) {
                if (y)
                    g[w] = arith_activate_backward(true, z[w], g[w]);
                a[w] += g[w];
            }
            if (y)
                store_columns<T, W>(to + i, g);
        });
    finish_sums<<<columns_grid(cols), block_shape, 0, s>>>(cut.chunks, cols, chunk, sum);
    return cudaGetLastError();
}

cudaError_t kernel_column_sums(cudaStream_t s, enum kernel_type t, size_t n, size_t cols,
                               const void *y, const void *dy, void *to, float *sum,
                               void *space)
{
    return BY_COLUMNS(t, cols, column_sums_of, s, n, cols, y, dy, to, sum, space);
}

/* ---- batch normalisation, forward ---- */

/* Merges what the lanes have, each of so many rows; lane 0 returns all, *rows theirs. */
static __device__ struct arith_moments merge_lanes(struct arith_moments own, double *rows)
{
    __shared__ struct arith_moments all[LANES][COLS];
    __shared__ double n[LANES][COLS];

    __syncthreads(); /* as in add_lanes() */
    all[threadIdx.y][threadIdx.x] = own;
    n[threadIdx.y][threadIdx.x] = *rows;
    __syncthreads();
    for (int i = 1; i < LANES && threadIdx.y == 0; i++) {
        arith_merge(*rows, &own, n[i][threadIdx.x], all[i][threadIdx.x]);
        *rows += n[i][threadIdx.x];
    }
    return own;
}

/* Of up to ROWS numbers, by two passes over registers. */
static __device__ struct arith_moments few_moments(const float v[ROWS], int n)
{
    struct arith_moments m;
    float sum = 0, squares = 0;

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

template <typename T, int W>
static __global__ void chunk_moments(size_t n, size_t cols, const T *x,
                                     struct arith_moments *chunk)
{
    size_t col = ((size_t)blockIdx.x * COLS + threadIdx.x) * W;
    size_t from = chunk_at(n, blockIdx.y, gridDim.y),
           to = chunk_at(n, blockIdx.y + 1, gridDim.y);
    struct arith_moments m[W] = {};
    double rows = 0;

    for (size_t r = from + threadIdx.y * ROWS; r < to && col < cols; r += LANES * ROWS) {
        int few = to - r < ROWS ? (int)(to - r) : ROWS;
        float v[W][ROWS] = {}, of_row[W];
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            if (i >= few)
                break;
            load_columns<T, W>(x + (r + i) * cols + col, of_row);
#pragma unroll
            for (int w = 0; w < W; w++)
                v[w][i] = of_row[w];
        }
#pragma unroll
        for (int w = 0; w < W; w++)
            arith_merge(rows, &m[w], few, few_moments(v[w], few));
        rows += few;
    }
#pragma unroll
    for (int w = 0; w < W; w++) {
        double all = rows;
        m[w] = merge_lanes(m[w], &all);
        if (threadIdx.y == 0 && col < cols)
            chunk[blockIdx.y * cols + col + w] = m[w];
    }
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
template <typename T>
static cudaError_t apply(cudaStream_t s, const struct device_batch_norm *b, const T *x,
                         const float *mean, const float *scale, T *y)
{
    uint32_t cols = (uint32_t)b->channels;
    const float *bias = b->bias;
    bool relu = b->activation == ACTIVATION_RELU;

    return each_pack(s, b->n * cols, [=] __device__(size_t i, int m) {
        uint32_t c = (uint32_t)i % cols;
        float v[PACK];
        load(x + i, m, v);
#pragma unroll
        for (int k = 0; k < PACK; k++) {
            v[k] = arith_activate(relu, (v[k] - mean[c]) * scale[c] + bias[c]);
            c = c + 1 == cols ? 0 : c + 1;
        }
        store(y + i, m, v);
    });
}

static_assert(sizeof(struct arith_moments) == sizeof(struct pair), "one space for both");

template <typename T, int W>
static cudaError_t batch_norm_of(cudaStream_t s, const struct device_batch_norm *b,
                                 const void *x, void *y, void *space)
{
    struct arith_moments *chunk = (struct arith_moments *)space;
    struct cut cut = cut_of(b->n, b->channels, W);
    float *scale = floats_behind(space, cut);

    chunk_moments<T, W>
        <<<grid_of(cut), block_shape, 0, s>>>(b->n, b->channels, (const T *)x, chunk);
    finish_moments<<<columns_grid(b->channels), block_shape, 0, s>>>(*b, cut.chunks,
                                                                     chunk, scale);
    return apply(s, b, (const T *)x, b->mean, scale, (T *)y);
}

cudaError_t kernel_batch_norm(cudaStream_t s, enum kernel_type t,
                              const struct device_batch_norm *b, const void *x, void *y,
                              void *space)
{
    return BY_COLUMNS(t, b->channels, batch_norm_of, s, b, x, y, space);
}

template <typename T>
static cudaError_t batch_norm_running_of(cudaStream_t s,
                                         const struct device_batch_norm *b, const void *x,
                                         void *y, float *scale)
{
    const float *weight = b->weight, *variance = b->running_var;
    float epsilon = b->epsilon;
    cudaError_t rc = each(s, b->channels, [=] __device__(size_t c) {
        scale[c] = weight[c] * rstd_of((double)variance[c], epsilon);
    });

    return rc != cudaSuccess ? rc
                             : apply(s, b, (const T *)x, b->running_mean, scale, (T *)y);
}

cudaError_t kernel_batch_norm_running(cudaStream_t s, enum kernel_type t,
                                      const struct device_batch_norm *b, const void *x,
                                      void *y, void *space)
{
    struct cut cut = cut_of(b->n, b->channels, width_of(t, b->channels));

    return BY_TYPE(t, batch_norm_running_of, s, b, x, y, floats_behind(space, cut));
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

/* dx = scale (g - mean_dy - (x - mean) slope) */
template <typename T>
static cudaError_t give(cudaStream_t s, const struct device_batch_norm *b, const T *x,
                        const T *dy, const float *scale, const float *mean_dy,
                        const float *slope, T *dx)
{
    uint32_t cols = (uint32_t)b->channels;
    const float *mean = b->mean, *bias = b->bias;
    bool relu = b->activation == ACTIVATION_RELU;

    return each_pack(s, b->n * cols, [=] __device__(size_t i, int m) {
        uint32_t c = (uint32_t)i % cols;
        float v[PACK], g[PACK];
        load(x + i, m, v);
        load(dy + i, m, g);
#pragma unroll
        for (int k = 0; k < PACK; k++) {
            float away = v[k] - mean[c];
            float on = passed(relu, away, scale[c], bias[c], g[k]);
            g[k] = scale[c] * (on - mean_dy[c] - away * slope[c]);
            c = c + 1 == cols ? 0 : c + 1;
        }
        store(dx + i, m, g);
    });
}

template <typename T, int W>
static cudaError_t batch_norm_backward_of(cudaStream_t s,
                                          const struct device_batch_norm *b,
                                          const void *of, const void *from,
                                          float *dweight, float *dbias, void *dx,
                                          void *space)
{
    size_t cols = b->channels;
    struct pair *chunk = (struct pair *)space;
    struct cut cut = cut_of(b->n, cols, W);
    float *scale = floats_behind(space, cut), *mean_dy = scale + cols,
          *slope = mean_dy + cols;
    const T *x = (const T *)of, *dy = (const T *)from;
    const float *mean = b->mean, *bias = b->bias, *weight = b->weight, *rstd = b->rstd;
    bool relu = b->activation == ACTIVATION_RELU;
    cudaError_t rc =
        each(s, cols, [=] __device__(size_t c) { scale[c] = weight[c] * rstd[c]; });

    if (rc != cudaSuccess)
        return rc;
    chunk_sums<W><<<grid_of(cut), block_shape, 0, s>>>(
        b->n, cols, chunk,
        [=] __device__(size_t r, size_t c, float *sum, float *product) {
            float v[W], g[W];
            load_columns<T, W>(x + r * cols + c, v);
            load_columns<T, W>(dy + r * cols + c, g);
#pragma unroll
            for (int w = 0; w < W; w++) {
                float away = v[w] - mean[c + w];
                float on = passed(relu, away, scale[c + w], bias[c + w], g[w]);
                sum[w] += on;
                product[w] += on * away;
            }
        });
    finish_backward<<<columns_grid(cols), block_shape, 0, s>>>(
        *b, cut.chunks, chunk, dweight, dbias, mean_dy, slope);
    if (!dx)
        return cudaGetLastError();
    return give(s, b, x, dy, scale, mean_dy, slope, (T *)dx);
}

cudaError_t kernel_batch_norm_backward(cudaStream_t s, enum kernel_type t,
                                       const struct device_batch_norm *b, const void *x,
                                       const void *dy, float *dweight, float *dbias,
                                       void *dx, void *space)
{
    return BY_COLUMNS(t, b->channels, batch_norm_backward_of, s, b, x, dy, dweight, dbias,
                      dx, space);
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
template <typename T>
static __device__ uint32_t warp_best(const T *row, uint32_t n, uint32_t lane)
{
    float best = -INFINITY;
    uint32_t at = UINT32_MAX;

    for (uint32_t c = lane; c < n; c += WARP)
        if (arith_beats(arith_widen(row[c]), c, best, at)) {
            best = arith_widen(row[c]);
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
    float first = arith_widen(row[0]);
    return first != first || at == UINT32_MAX ? 0 : at;
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
template <typename T>
static __global__ void row_losses(size_t rows, uint32_t classes, const T *logits,
                                  const int32_t *labels, const uint32_t *index,
                                  float smoothing, float share, T *gradient,
                                  struct outcome *outcome,
                                  const union kernel_values *later)
{
    size_t r = own_element() / WARP;
    uint32_t lane = threadIdx.x % WARP;
    float spread = smoothing / (float)classes, sum = 0;
    double away = 0;

    if (r >= rows) /* the whole warp */
        return;
    if (later) {
        index = later->loss.index;
        share = later->loss.share;
    }
    const T *row = logits + r * classes;
    uint32_t label = (uint32_t)labels[index[r]], at = warp_best(row, classes, lane);
    float best = arith_widen(row[at]);

    for (uint32_t c = lane; c < classes; c += WARP) {
        float z = arith_widen(row[c]) - best;
        sum += expf(z);
        away += (double)z;
    }
    sum = warp_sum(sum);
    away = warp_sum(away);
    if (lane == 0) {
        float shifted = arith_widen(row[label]) - best;
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
        float g = expf(arith_widen(row[c]) - best) / sum * share - spread * share;
        arith_narrow(c == label ? g - (1 - smoothing) * share : g, &gradient[c]);
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

template <typename T>
static cudaError_t softmax_loss_of(cudaStream_t s, size_t rows, size_t classes,
                                   const void *logits, const int32_t *labels,
                                   const uint32_t *index, float smoothing, float share,
                                   void *gradient, struct device_totals *totals,
                                   void *space, const union kernel_values *later)
{
    struct outcome *outcome = (struct outcome *)space;

    if (rows == 0)
        return cudaSuccess;
    row_losses<<<blocks_for(rows * WARP), THREADS, 0, s>>>(
        rows, (uint32_t)classes, (const T *)logits, labels, index, smoothing, share,
        (T *)gradient, outcome, later);
    add_losses<<<1, THREADS, 0, s>>>(rows, outcome, totals);
    return cudaGetLastError();
}

cudaError_t kernel_softmax_loss(cudaStream_t s, enum kernel_type t, size_t rows,
                                size_t classes, const void *logits, const int32_t *labels,
                                const uint32_t *index, float smoothing, float share,
                                void *gradient, struct device_totals *totals, void *space,
                                const union kernel_values *later)
{
    return BY_TYPE(t, softmax_loss_of, s, rows, classes, logits, labels, index, smoothing,
                   share, gradient, totals, space, later);
}
