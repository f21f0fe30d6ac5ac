#include "worker/train/comm_transport.h"

#include "base/mem.h"

#include <mpi.h>

#include <stdlib.h>

struct mpi {
    struct transport transport;
    MPI_Request requests[2]; /* out, in */
};

/* MPI_SUCCESS is 0. */
static int check(int rc, const char *what, struct err *e)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int n;

    if (rc == MPI_SUCCESS)
        return 0;
    MPI_Error_string(rc, text, &n);
    return err_set(e, ERR_IO, "%s: %s", what, text);
}

static int mpi_send(struct transport *t, int to, const void *p, size_t bytes,
                    struct err *e)
{
    struct mpi *m = (struct mpi *)t;

    return check(
        MPI_Isend(p, (int)bytes, MPI_BYTE, to, 0, MPI_COMM_WORLD, &m->requests[0]),
        "MPI_Isend", e);
}

static int mpi_receive(struct transport *t, int from, void *p, size_t bytes,
                       struct err *e)
{
    struct mpi *m = (struct mpi *)t;

    return check(
        MPI_Irecv(p, (int)bytes, MPI_BYTE, from, 0, MPI_COMM_WORLD, &m->requests[1]),
        "MPI_Irecv", e);
}

static int mpi_test(struct transport *t, struct err *e)
{
    struct mpi *m = (struct mpi *)t;
    int done;
    int rc =
        check(MPI_Testall(2, m->requests, &done, MPI_STATUSES_IGNORE), "MPI_Testall", e);

    return rc < 0 ? rc : done != 0;
}

static void mpi_close(struct transport *t)
{
    MPI_Finalize();
    free(t);
}

static const struct transport_ops mpi_ops = {
    .name = "MPI",
    .send = mpi_send,
    .receive = mpi_receive,
    .test = mpi_test,
    .close = mpi_close,
};

int transport_mpi(struct transport **t, struct err *e)
{
    struct mpi *m;
    int level;
    /* The lifeline's thread makes no calls of MPI. */
    int rc = check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level),
                   "MPI_Init_thread", e);

    if (rc < 0)
        return rc;
    /* A peer's death is for the lifeline to tell. */
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    m = mem_alloc(sizeof(*m));
    m->transport.ops = &mpi_ops;
    m->requests[0] = m->requests[1] = MPI_REQUEST_NULL;
    MPI_Comm_rank(MPI_COMM_WORLD, &m->transport.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &m->transport.size);
    *t = &m->transport;
    return 0;
}
