#include "worker/train/gpu_wanted.h"

#include "worker/train/devices.h"

#include <stdio.h>
#include <stdlib.h>

#define EXIT_SKIPPED 77 /* automake's */

struct device *gpu_wanted(void)
{
    struct err e;
    struct device *d = devices_open(&(struct devices_config){.kind = "cuda"}, &e);

    if (d)
        return d;
    fprintf(stderr, "%s\n", e.text);
    exit(e.code == ERR_NOENT ? EXIT_SKIPPED : EXIT_FAILURE);
}

/* Before cmocka says how many tests there are. */
__attribute__((constructor)) static void look_for_it(void)
{
    device_close(gpu_wanted());
}
