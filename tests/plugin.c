/* A librung_cuda.so for tests. FAKE_PLUGIN says what is wrong with it: "old" (it is of
 * another rung), "driver" (which is too old for it), "algorithms" (it says, as what is
 * wrong, those that NCCL may use), "crash"; else it finds a GPU. */
#include "gpu/plugin.h"

#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is(const char *what)
{
    const char *wrong = getenv("FAKE_PLUGIN");

    return wrong && strcmp(wrong, what) == 0;
}

static int count(int *n, struct err *e)
{
    if (is("crash"))
        abort();
    if (is("driver") || is("algorithms")) {
        const char *algorithms = getenv("NCCL_ALGO");
        if (is("driver"))
            snprintf(e->text, sizeof(e->text), "CUDA: the driver is too old");
        else
            snprintf(e->text, sizeof(e->text), "NCCL uses %s",
                     algorithms ? algorithms : "all");
        return e->code = ERR_UNSUPPORTED;
    }
    *n = 1;
    return 0;
}

struct plugin rung_cuda_made_up __asm__(PLUGIN_SYMBOL) = {
    .version = PACKAGE_VERSION, .ops_size = sizeof(struct device_ops), .count = count};

static void __attribute__((constructor)) begin(void)
{
    if (is("old"))
        rung_cuda_made_up.version = "0.0.1";
}
