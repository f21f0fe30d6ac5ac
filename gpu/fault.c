#include "gpu/fault.h"

#include <stdbool.h>
#include <stdio.h>

/* The codes that people meet, what they come to, and what to do. */
static const struct fault {
    cudaError_t code;
    int error;
    const char *sentence;
} faults[] = {
    {cudaErrorMemoryAllocation, ERR_FULL, "the GPU's memory is full"},
    {cudaErrorNoDevice, ERR_NOENT,
     "there is no GPU (or CUDA_VISIBLE_DEVICES hides it; in Slurm, ask for one: "
     "--gres=gpu:1)"},
    {cudaErrorStubLibrary, ERR_NOENT,
     "there is no NVIDIA driver: the libcuda.so.1 that was found is the CUDA toolkit's "
     "stub, for linking alone"},
    {cudaErrorInvalidDevice, ERR_NOENT, "there is no GPU of that number"},
    {cudaErrorDevicesUnavailable, ERR_IO,
     "the GPU is busy: it is in exclusive mode and another process has it (nvidia-smi "
     "shows which; `nvidia-smi -c DEFAULT` lets several in)"},
    {cudaErrorNoKernelImageForDevice, ERR_UNSUPPORTED,
     "this build has no code for this GPU's architecture (./configure CUDA_ARCHS=... "
     "names architectures)"},
    {cudaErrorInvalidPtx, ERR_UNSUPPORTED,
     "this build's code is not for this GPU (./configure CUDA_ARCHS=... names "
     "architectures)"},
    {cudaErrorUnsupportedPtxVersion, ERR_UNSUPPORTED,
     "the driver is too old to compile this build's code for this GPU: update the "
     "driver, or name the GPU in ./configure CUDA_ARCHS=..."},
    {cudaErrorSystemDriverMismatch, ERR_UNSUPPORTED,
     "the NVIDIA kernel module and its libraries are of different versions: reboot the "
     "node, or reload the module"},
    {cudaErrorCompatNotSupportedOnDevice, ERR_UNSUPPORTED,
     "CUDA's forward compatibility package is not for this GPU: update the driver "
     "instead"},
    {cudaErrorSystemNotReady, ERR_IO,
     "the GPUs' fabric is not ready: is nvidia-fabricmanager running?"},
    {cudaErrorECCUncorrectable, ERR_IO,
     "the GPU has lost bits of its memory (an uncorrectable ECC error): drain the node; "
     "`nvidia-smi -q -d ECC` counts them"},
    {cudaErrorContained, ERR_IO,
     "the GPU has lost bits of its memory (an ECC error, contained to this process): "
     "start again; `nvidia-smi -q -d ECC` counts them"},
    {cudaErrorNvlinkUncorrectable, ERR_IO,
     "an NVLink has failed (uncorrectable): drain the node; `nvidia-smi nvlink -e` "
     "counts"},
    {cudaErrorHardwareStackError, ERR_IO,
     "the GPU has failed (hardware stack): `dmesg | grep Xid` says more; the node needs "
     "to be looked at"},
    {cudaErrorIllegalAddress, ERR_IO,
     "a kernel touched memory that is not its own: a bug here, or a GPU that fails "
     "(`dmesg | grep Xid` says more)"},
    {cudaErrorMisalignedAddress, ERR_IO,
     "a kernel touched memory askew: a bug here, or a GPU that fails (`dmesg | grep "
     "Xid` says more)"},
    {cudaErrorIllegalInstruction, ERR_IO,
     "a kernel met an illegal instruction: a bug here, or a GPU that fails (`dmesg | "
     "grep Xid` says more)"},
    {cudaErrorLaunchTimeout, ERR_IO,
     "a kernel took too long for a GPU that also draws a display"},
    {cudaErrorLaunchFailure, ERR_IO, "a kernel failed (`dmesg | grep Xid` says more)"},
    {cudaErrorUnknown, ERR_IO,
     "the driver does not say why (`dmesg | grep Xid` may): is the module nvidia-uvm "
     "loaded?"},
};

static int version_text(char *text, size_t size, int v)
{
    return snprintf(text, size, "%d.%d", v / 1000, v % 1000 / 10);
}

/* CUDA has one code for no driver at all and for one that is too old. */
static int old_driver(const struct fault_versions *v, const char *what, struct err *e)
{
    char driver[16], runtime[16];

    if (!v || v->driver == 0)
        return err_set(e, ERR_NOENT,
                       "%s: there is no NVIDIA driver on this machine (no libcuda.so.1)",
                       what);
    version_text(driver, sizeof(driver), v->driver);
    version_text(runtime, sizeof(runtime), v->runtime);
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: the NVIDIA driver is too old: it is for CUDA up to %s, and this "
                   "build needs %s: update the driver, or build with that CUDA",
                   what, driver, runtime);
}

int fault_cuda(cudaError_t code, const struct fault_versions *v, const char *what,
               struct err *e)
{
    if (code == cudaSuccess)
        return 0;
    if (code == cudaErrorInsufficientDriver)
        return old_driver(v, what, e);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        if (faults[i].code == code)
            return err_set(e, faults[i].error, "%s: %s", what, faults[i].sentence);
    return err_set(e, ERR_IO, "%s: CUDA fails with error %d (%s)", what, (int)code,
                   cudaGetErrorString(code));
}

int fault_cublas(cublasStatus_t code, const char *what, struct err *e)
{
    switch (code) {
    case CUBLAS_STATUS_SUCCESS: return 0;
    case CUBLAS_STATUS_ALLOC_FAILED:
        return err_set(e, ERR_FULL, "%s: the GPU's memory is full", what);
    case CUBLAS_STATUS_ARCH_MISMATCH:
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: cuBLAS has no code for this GPU's architecture", what);
    default:
        return err_set(e, ERR_IO, "%s: cuBLAS fails (%s)", what,
                       cublasGetStatusString(code));
    }
}

int fault_cudnn(cudnnStatus_t code, const char *what, struct err *e)
{
    switch (code) {
    case CUDNN_STATUS_SUCCESS: return 0;
    case CUDNN_STATUS_ALLOC_FAILED:
    case CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED:
        return err_set(e, ERR_FULL, "%s: the GPU's memory is full", what);
    case CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED:
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: cuDNN cannot load its own libraries: are all of "
                       "libcudnn_*.so.9 where libcudnn.so.9 is?",
                       what);
    case CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH:
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: cuDNN's libraries are of different versions: "
                       "LD_LIBRARY_PATH mixes two of them",
                       what);
    case CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH:
        return err_set(e, ERR_UNSUPPORTED, "%s: cuDNN has no code for this GPU", what);
    default: break;
    }
    bool unsupported =
        code >= CUDNN_STATUS_NOT_SUPPORTED && code < CUDNN_STATUS_INTERNAL_ERROR;
    return err_set(e, unsupported ? ERR_UNSUPPORTED : ERR_IO, "%s: cuDNN %s (%s)", what,
                   unsupported ? "has it not" : "fails", cudnnGetErrorString(code));
}
