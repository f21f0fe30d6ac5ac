/* How long a training takes from exec to its first optimiser step: of cnn, on data of the
 * size of Fashion-MNIST and of CIFAR-10 that was just written, so that it is in the
 * system's cache, and on Fashion-MNIST itself, if that is there. rung-train of the
 * directory it is started in draws its progress first after that step, on the terminal
 * that it has here. Medians count. */
#include "base/clock.h"
#include "base/file.h"
#include "base/rank.h"
#include "base/mem.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNS = 7, IDX_HEADER = 16 };

#define ROOT          "start_bench.dir"
#define FASHION_MNIST "/usr/share/datasets/fashion-mnist"

static int failed(const char *what)
{
    perror(what);
    return -1;
}

/* A file of `start` and n records, each a label from 0 to 9 and so many bytes; without
 * bytes or without labels it has the others alone. */
static int write_file(const char *path, const void *start, size_t start_size, size_t n,
                      bool labels, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    unsigned char *record = mem_alloc(bytes + 1);
    uint32_t draw = 1;

    if (!f)
        return failed(path);
    fwrite(start, 1, start_size, f);
    for (size_t i = 0; i < n; i++) {
        record[0] = (unsigned char)(i % 10);
        for (size_t k = 1; k <= bytes; k++)
            record[k] = (unsigned char)((draw = draw * 1664525 + 1013904223) >> 24);
        fwrite(record + !labels, 1, bytes + labels, f);
    }
    free(record);
    return fclose(f) == 0 ? 0 : failed(path);
}

static int write_idx(const char *part, uint32_t n)
{
    unsigned char start[IDX_HEADER] = {
        0, 0,  8, 3, 0, 0, (unsigned char)(n >> 8), (unsigned char)n, 0, 0,
        0, 28, 0, 0, 0, 28};
    char path[128];

    snprintf(path, sizeof(path), ROOT "/idx/%s-images-idx3-ubyte", part);
    if (write_file(path, start, sizeof(start), n, false, (size_t)28 * 28) < 0)
        return -1;
    start[3] = 1;
    snprintf(path, sizeof(path), ROOT "/idx/%s-labels-idx1-ubyte", part);
    return write_file(path, start, 8, n, true, 0);
}

static int write_cifar(const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), ROOT "/cifar/%s.bin", name);
    return write_file(path, "", 0, 10000, true, (size_t)3 * 32 * 32);
}

static int write_data(void)
{
    static const char *const batches[] = {"data_batch_1", "data_batch_2", "data_batch_3",
                                          "data_batch_4", "data_batch_5", "test_batch"};
    struct err e;

    if (dir_make(ROOT "/idx", 0777, &e) < 0 || dir_make(ROOT "/cifar", 0777, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return -1;
    }
    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
        if (write_cifar(batches[i]) < 0)
            return -1;
    return write_idx("train", 60000) < 0 ? -1 : write_idx("t10k", 10000);
}

/* Becomes rung-train, with the terminal as stderr. */
static void become(const char *data, const char *terminal)
{
    int out = open("/dev/null", O_WRONLY), err = open(terminal, O_RDWR | O_NOCTTY);

    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execl("./rung-train", "rung-train", "--data", data, "--model", "cnn", "--batch-size",
          "32", "--epochs", "1", (char *)NULL);
    _exit(EXIT_FAILURE);
}

/* Whether the terminal shows the word before the program is gone. */
static bool wait_for(int terminal, const char *word)
{
    char text[4096];
    size_t n = 0;
    ssize_t got;

    while ((got = read(terminal, text + n, sizeof(text) - 1 - n)) > 0) {
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, word))
            return true;
    }
    fprintf(stderr, "%.*s\n", (int)n, text);
    return false;
}

static double start_once(const char *data)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);

    if (terminal < 0 || grantpt(terminal) < 0 || unlockpt(terminal) < 0)
        return failed("a terminal");
    const char *name = ptsname(terminal);
    double begun = clock_mono();
    pid_t child = fork();
    if (child == 0)
        become(data, name);
    double seconds = wait_for(terminal, "samples/s") ? clock_mono() - begun : -1;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(terminal);
    return seconds;
}

static int run_case(const char *data, const char *what)
{
    double seconds[RUNS];

    for (int i = 0; i < RUNS; i++)
        if ((seconds[i] = start_once(data)) < 0)
            return -1;
    printf("%.2f s\t< 0.50 s\tfrom exec of rung-train to its first optimiser step: cnn, "
           "%s, cached; median of %d\n",
           median(seconds, RUNS), what, RUNS);
    return 0;
}

int main(void)
{
    struct err e;
    int rc = write_data();

    if (rc == 0)
        rc = run_case(ROOT "/idx", "60000 + 10000 images of 28x28 in idx files");
    if (rc == 0)
        rc = run_case(ROOT "/cifar", "50000 + 10000 of 32x32x3 in CIFAR-10's files");
    if (rc == 0 && access(FASHION_MNIST, F_OK) == 0)
        rc = run_case(FASHION_MNIST, "Fashion-MNIST as Debian has it, gzipped");
    if (dir_remove(ROOT, &e) < 0)
        fprintf(stderr, "%s\n", e.text);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
