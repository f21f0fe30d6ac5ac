#include "config.h"

#include "gpu/trace.h"

#include "base/mem.h"
#include "base/vec.h"

#include <stdlib.h>

static int earlier(const void *a, const void *b)
{
    const struct trace_span *x = a, *y = b;

    return (x->start > y->start) - (x->start < y->start);
}

double trace_covered(struct trace_span *spans, size_t n, bool all)
{
    uint64_t sum = 0, to = 0;

    qsort(spans, n, sizeof(*spans), earlier);
    for (size_t i = 0; i < n; i++) {
        const struct trace_span *s = &spans[i];
        if ((s->gathers && !all) || s->end <= to)
            continue;
        sum += s->end - (s->start > to ? s->start : to);
        to = s->end;
    }
    return (double)sum * 1e-9;
}

#ifdef HAVE_CUPTI

#include <cupti.h>
#include <pthread.h>
#include <string.h>

#define BUFFER ((size_t)8 << 20)
#define ALIGN  ((size_t)8) /* CUPTI's, of buffers */

struct trace {
    VEC(struct trace_span) spans;
    bool lost; /* there was no memory for some, or it is not told when they were */
};

/* CUPTI's functions take no argument of ours; and it has a thread, which may bring a
 * buffer when the trace is gone: then there is none. */
static struct trace *tracing;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of it, and what it has */

static void trace_with(struct trace *t)
{
    pthread_mutex_lock(&mutex);
    tracing = t;
    pthread_mutex_unlock(&mutex);
}

static const CUpti_ActivityKind kinds[] = {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL,
                                           CUPTI_ACTIVITY_KIND_MEMCPY,
                                           CUPTI_ACTIVITY_KIND_MEMSET};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void CUPTIAPI give_buffer(uint8_t **buffer, size_t *size, size_t *most)
{
    *buffer = aligned_alloc(ALIGN, BUFFER);
    *size = *buffer ? BUFFER : 0;
    *most = 0;
}

static void note(struct trace *t, const CUpti_Activity *a)
{
    const CUpti_ActivityKernel10 *kernel = (const void *)a;
    const CUpti_ActivityMemcpy6 *copy = (const void *)a;
    const CUpti_ActivityMemset4 *set = (const void *)a;
    struct trace_span s = {0, 0, false};

    switch (a->kind) {
    case CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL:
        s = (struct trace_span){kernel->start, kernel->end,
                                strstr(kernel->name, "gather_of") != NULL};
        break;
    case CUPTI_ACTIVITY_KIND_MEMCPY:
        s = (struct trace_span){copy->start, copy->end, false};
        break;
    case CUPTI_ACTIVITY_KIND_MEMSET:
        s = (struct trace_span){set->start, set->end, false};
        break;
    default: return;
    }
    if (s.start == 0 || s.end < s.start)
        t->lost = true;
    else
        vec_push(&t->spans, s);
}

static void CUPTIAPI take_buffer(CUcontext context, uint32_t stream, uint8_t *buffer,
                                 size_t size, size_t valid)
{
    CUpti_Activity *a = NULL;
    size_t dropped = 0;

    (void)size;
    pthread_mutex_lock(&mutex);
    struct trace *t = tracing;
    while (t && valid && cuptiActivityGetNextRecord(buffer, valid, &a) == CUPTI_SUCCESS)
        note(t, a);
    if (t &&
        cuptiActivityGetNumDroppedRecords(context, stream, &dropped) == CUPTI_SUCCESS)
        t->lost |= dropped > 0;
    pthread_mutex_unlock(&mutex);
    free(buffer);
}

static int fault(CUptiResult rc, struct err *e)
{
    const char *why = NULL;

    if (rc == CUPTI_SUCCESS)
        return 0;
    cuptiGetResultString(rc, &why);
    return err_set(e, ERR_IO, "CUPTI fails (%s)", why ? why : "it does not say why");
}

struct trace *trace_begin(struct err *e)
{
    struct trace *t = mem_alloc(sizeof(*t));

    trace_with(t);
    int rc = fault(cuptiActivityRegisterCallbacks(give_buffer, take_buffer), e);
    for (size_t i = 0; i < KINDS && rc == 0; i++)
        rc = fault(cuptiActivityEnable(kinds[i]), e);
    if (rc == 0)
        return t;
    for (size_t i = 0; i < KINDS; i++)
        cuptiActivityDisable(kinds[i]);
    trace_free(t);
    return NULL;
}

int trace_end(struct trace *t, struct trace_span **spans, size_t *n, struct err *e)
{
    int rc = fault(cuptiActivityFlushAll(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED), e);

    for (size_t i = 0; i < KINDS; i++)
        cuptiActivityDisable(kinds[i]);
    if (rc == 0 && t->lost)
        rc = err_set(e, ERR_FULL, "CUPTI has lost some of what the GPU did");
    else if (rc == 0 && t->spans.n == 0)
        rc = err_set(e, ERR_NOENT, "CUPTI has seen nothing of what the GPU did");
    *spans = t->spans.v;
    *n = t->spans.n;
    return rc;
}

void trace_free(struct trace *t)
{
    if (!t)
        return;
    trace_with(NULL);
    vec_free(&t->spans);
    free(t);
}

#else

struct trace *trace_begin(struct err *e)
{
    err_set(e, ERR_UNSUPPORTED, "this build is without CUPTI");
    return NULL;
}

int trace_end(struct trace *t, struct trace_span **spans, size_t *n, struct err *e)
{
    (void)t, (void)spans, (void)n;
    return err_set(e, ERR_UNSUPPORTED, "this build is without CUPTI");
}

void trace_free(struct trace *t)
{
    (void)t;
}

#endif
