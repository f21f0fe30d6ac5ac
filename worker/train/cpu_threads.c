/* Loops in threads. These are OpenMP's, of which oneDNN brings a pool along: a second one
 * would fight with it for the cores, since idle threads of OpenMP look out for work for a
 * while before they sleep. The compiler's pragmas would bind this to the compiler's own
 * library, which need not be oneDNN's; so its entry is called by name ("Implementing
 * PARALLEL construct" in the manual of libgomp; clang's libomp has the same). Where there
 * is none, one thread does it all. */
#include "worker/train/cpu_private.h"

#include <dlfcn.h>

#include <stdatomic.h>

struct share {
    cpu_work *work;
    void *arg;
    size_t n, pieces;
    atomic_size_t next;
};

/* Each thread, of however many there are, does the piece that is next until none is. */
static void take_pieces(void *arg)
{
    struct share *s = arg;

    for (size_t i; (i = atomic_fetch_add(&s->next, 1)) < s->pieces;)
        s->work(s->arg, i, s->n * i / s->pieces, s->n * (i + 1) / s->pieces);
}

size_t cpu_pieces(const struct cpu *cpu, size_t n, size_t each)
{
    size_t worth = n * each / CPU_PIECE, most = (size_t)cpu->threads;

    most = n < most ? n : most;
    most = worth < most ? worth : most;
    return most && cpu->parallel ? most : 1;
}

void cpu_parallel(struct cpu *cpu, size_t n, size_t each, cpu_work *work, void *arg)
{
    struct share s = {work, arg, n, cpu_pieces(cpu, n, each), 0};

    if (s.pieces == 1)
        work(arg, 0, 0, n);
    else
        cpu->parallel(take_pieces, &s, (unsigned)s.pieces, 0);
}

void cpu_threads_open(struct cpu *cpu)
{
    *(void **)&cpu->parallel = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    *(void **)&cpu->set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
}

void cpu_threads_use(const struct cpu *cpu)
{
    if (cpu->set_threads)
        cpu->set_threads(cpu->threads);
}
