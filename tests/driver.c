/* In the place of NVIDIA's libcuda.so.1, where there is no GPU: a driver that knows CUDA
 * 12.4 and nothing of what later ones do. cuInit() returns $FAKE_INIT, and there are
 * $FAKE_GPUS devices. */
#include <stdlib.h>

int cuInit(unsigned flags);
int cuDeviceGetCount(int *n);
int cuDriverGetVersion(int *version);

static int of(const char *name)
{
    const char *text = getenv(name);

    return text ? atoi(text) : 0;
}

int cuInit(unsigned flags)
{
    (void)flags;
    return of("FAKE_INIT");
}

int cuDeviceGetCount(int *n)
{
    *n = of("FAKE_GPUS");
    return 0;
}

int cuDriverGetVersion(int *version)
{
    *version = 12040;
    return 0;
}
