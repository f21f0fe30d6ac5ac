/* An MPI program that says what it got: where each rank runs, and the sum of all ranks,
 * which only ranks that found each other can know. tests/cluster.t compiles it. */
#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int rank, size, sum, length;
    char host[MPI_MAX_PROCESSOR_NAME];

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_processor_name(host, &length);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    printf("rank %d on %s: %d ranks, sum %d\n", rank, host, size, sum);
    MPI_Finalize();
    return 0;
}
