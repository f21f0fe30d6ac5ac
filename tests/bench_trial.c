/* A trial of `make bench`: reports as fast as it is answered, does as it is told. With a
 * second argument it begins when that file is there. Outside a sweep it ends at once,
 * which shows what its process alone costs. */
#include "worker/lib/rung.h"

#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rung *r = rung_open();
    double x = argc > 1 ? atof(argv[1]) : 0;
    int answer = getenv("RUNG_SOCKET") ? RUNG_CONTINUE : RUNG_STOP;

    while (argc > 2 && access(argv[2], F_OK) != 0)
        usleep(100000);
    for (long step = rung_start(r) + 1; answer == RUNG_CONTINUE; step++) {
        struct rung_metric m = {"loss", x / (double)step};

        answer = rung_report(r, step, 1, &m);
    }
    rung_close(r);
    return answer < 0;
}
