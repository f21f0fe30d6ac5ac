#include "worker/train/comm_transport.h"

int transport_mpi(struct transport **t, struct err *e)
{
    *t = NULL;
    return err_set(e, ERR_UNSUPPORTED,
                   "an MPI launcher started this process, but this rung-train was built "
                   "without MPI (Debian: apt-get install libopenmpi-dev, then configure "
                   "and make again); srun --mpi=pmi2 needs none");
}
