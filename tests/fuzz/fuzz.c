#include "tests/fuzz/fuzz.h"

#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void fuzz_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

void fuzz_same(const char *file, int line, const struct str *a, const struct str *b)
{
    if (a->len == b->len && memcmp(a->p, b->p, a->len) == 0)
        return;
    fprintf(stderr, "%s\n---- is not\n%s\n", a->p, b->p);
    fuzz_fail(file, line, "the same");
}

bool fuzz_line(struct slice *rest, struct slice *line)
{
    const char *newline;

    if (rest->len == 0)
        return false;
    newline = memchr(rest->p, '\n', rest->len);
    *line = (struct slice){rest->p, newline ? (size_t)(newline - rest->p) : rest->len};
    rest->p += line->len + (newline != NULL);
    rest->len -= line->len + (newline != NULL);
    return true;
}

bool fuzz_word(struct slice *line, const char *word)
{
    size_t n = strlen(word);

    if (line->len < n || memcmp(line->p, word, n) != 0)
        return false;
    line->p += n;
    line->len -= n;
    return true;
}

int64_t fuzz_number(struct slice *line, int64_t max)
{
    int64_t v = 0;

    for (; line->len > 0 && *line->p >= '0' && *line->p <= '9'; line->p++, line->len--)
        v = v > max / 10 ? max : v * 10 + (*line->p - '0');
    fuzz_word(line, " ");
    return v < max ? v : max;
}

char *fuzz_text(struct slice line)
{
    return mem_strndup(line.p, line.len);
}

/* The name is of the process, not only of the fuzzer: several run at a time. */
static char dir[64];

static void remove_dir(void)
{
    dir_remove(dir, NULL);
}

const char *fuzz_dir(void)
{
    if (*dir)
        return dir;
    snprintf(dir, sizeof(dir), "%s/rung-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FUZZ_CHECK(mkdtemp(dir));
    atexit(remove_dir);
    return dir;
}

void fuzz_file(const char *name, const void *data, size_t n)
{
    char *path = path_join(fuzz_dir(), name);
    int fd;

    unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && file_write_fd(fd, data, n, NULL) == 0);
    close(fd);
    free(path);
}
