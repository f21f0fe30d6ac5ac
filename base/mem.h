/* Memory. Allocation never returns NULL: when there is none left the process
 * writes one line to stderr and aborts. A killed process is a case that the
 * journal and the agents are built for and tested with; thousands of branches
 * for a NULL that an overcommitting kernel never returns would not be. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size); /* zeroed; size 0 gives a unique pointer */
void *mem_resize(void *p, size_t n, size_t size); /* n * size bytes, overflow checked;
                                                     new bytes are not zeroed */
#define MEM_HUGE ((size_t)2 << 20)
/* That many bytes and what is left of the last MEM_HUGE, not zeroed, on huge pages if the
 * system gives them: for what is visited at random, where small pages cost a look at the
 * page table each time, and for what is large and filled at once, where each costs a
 * fault. free(). */
void *mem_huge(size_t bytes);
char *mem_strdup(const char *s);            /* NULL gives NULL */
char *mem_strndup(const char *s, size_t n); /* copies n bytes and a NUL */
void *mem_dup(const void *p, size_t size);

#endif
