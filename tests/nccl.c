/* A libnccl.so.2 for tests: of NCCL 2.99.1, built with the CUDA that its message tells.
 */
int ncclGetVersion(int *version);
const char *ncclGetLastError(void *communicator);

int ncclGetVersion(int *version)
{
    *version = 29901;
    return 0;
}

const char *ncclGetLastError(void *communicator)
{
    static const char message[] = "NCCL version 2.99.1+cuda13.0";

    return communicator ? message : "";
}
