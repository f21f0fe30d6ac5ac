#include "worker/train/subject.h"

#include "worker/train/cpu.h"

struct device *subject_open(int threads)
{
    return cpu_open(threads);
}
