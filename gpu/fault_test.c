/* The sentences, by the codes that the libraries really use. */
#include "gpu/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_says(int rc, const struct err *e, int code, const char *words)
{
    assert_int_equal(rc, code);
    assert_int_equal(e->code, code);
    if (!strstr(e->text, words))
        fail_msg("\"%s\" does not say \"%s\"", e->text, words);
    assert_true(strncmp(e->text, "here: ", 6) == 0);
}

static void test_cuda_codes(void **state)
{
    (void)state;
    static const struct {
        cudaError_t code;
        int error;
        const char *words;
    } cases[] = {
        {cudaErrorNoDevice, ERR_NOENT, "there is no GPU"},
        {cudaErrorInvalidDevice, ERR_NOENT, "no GPU of that number"},
        {cudaErrorStubLibrary, ERR_NOENT, "toolkit's stub"},
        {cudaErrorMemoryAllocation, ERR_FULL, "memory is full"},
        {cudaErrorDevicesUnavailable, ERR_IO, "exclusive mode"},
        {cudaErrorNoKernelImageForDevice, ERR_UNSUPPORTED, "CUDA_ARCHS"},
        {cudaErrorSystemDriverMismatch, ERR_UNSUPPORTED, "different versions"},
        {cudaErrorECCUncorrectable, ERR_IO, "uncorrectable ECC error"},
        {cudaErrorIllegalAddress, ERR_IO, "Xid"},
        {cudaErrorLaunchFailure, ERR_IO, "Xid"},
        {cudaErrorHardwareStackError, ERR_IO, "Xid"},
        {cudaErrorSystemNotReady, ERR_IO, "fabricmanager"},
        {cudaErrorInvalidValue, ERR_IO, "error 1 (invalid argument)"},
    };
    struct err e;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_says(fault_cuda(cases[i].code, NULL, "here", &e), &e, cases[i].error,
                    cases[i].words);
    e.text[0] = '\0';
    assert_int_equal(fault_cuda(cudaSuccess, NULL, "here", &e), 0);
    assert_string_equal(e.text, "");
    assert_int_equal(fault_cuda(cudaErrorNoDevice, NULL, "here", NULL), ERR_NOENT);
}

static void test_no_driver_and_an_old_one_are_told_apart(void **state)
{
    (void)state;
    const struct fault_versions none = {0, 13000}, old = {12040, 13000};
    struct err e;

    assert_says(fault_cuda(cudaErrorInsufficientDriver, &none, "here", &e), &e, ERR_NOENT,
                "no libcuda.so.1");
    assert_says(fault_cuda(cudaErrorInsufficientDriver, NULL, "here", &e), &e, ERR_NOENT,
                "no libcuda.so.1");
    assert_says(fault_cuda(cudaErrorInsufficientDriver, &old, "here", &e), &e,
                ERR_UNSUPPORTED, "it is for CUDA up to 12.4, and this build needs 13.0");
}

static void test_libraries(void **state)
{
    (void)state;
    struct err e;

    assert_int_equal(fault_cublas(CUBLAS_STATUS_SUCCESS, "here", &e), 0);
    assert_says(fault_cublas(CUBLAS_STATUS_ALLOC_FAILED, "here", &e), &e, ERR_FULL,
                "memory is full");
    assert_says(fault_cublas(CUBLAS_STATUS_ARCH_MISMATCH, "here", &e), &e,
                ERR_UNSUPPORTED, "architecture");
    assert_says(fault_cublas(CUBLAS_STATUS_EXECUTION_FAILED, "here", &e), &e, ERR_IO,
                "cuBLAS fails (the function failed to launch on the GPU)");
    assert_int_equal(fault_cudnn(CUDNN_STATUS_SUCCESS, "here", &e), 0);
    assert_says(
        fault_cudnn(CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED, "here", &e), &e,
        ERR_FULL, "memory is full");
    assert_says(fault_cudnn(CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED, "here", &e), &e,
                ERR_UNSUPPORTED, "libcudnn_*.so.9");
    assert_says(fault_cudnn(CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH, "here", &e), &e,
                ERR_UNSUPPORTED, "different versions");
    assert_says(fault_cudnn(CUDNN_STATUS_NOT_SUPPORTED_SHAPE, "here", &e), &e,
                ERR_UNSUPPORTED, "has it not (CUDNN_STATUS_NOT_SUPPORTED_SHAPE)");
    assert_says(fault_cudnn(CUDNN_STATUS_EXECUTION_FAILED, "here", &e), &e, ERR_IO,
                "CUDNN_STATUS_EXECUTION_FAILED");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuda_codes),
        cmocka_unit_test(test_no_driver_and_an_old_one_are_told_apart),
        cmocka_unit_test(test_libraries),
    };

    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
