/* Of several ranks, on a machine without GPUs: each rank comes to the same. What a driver
 * and the plug-in say is in tests/device.t. */
#include "worker/train/devices.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct rank {
    const char *kind;
    struct comm *comm;
    struct device *device;
    struct err e;
    pthread_t thread;
};

static void *open_rank(void *arg)
{
    struct rank *r = arg;

    r->device = devices_open(
        &(struct devices_config){.kind = r->kind, .threads = 1, .comm = r->comm}, &r->e);
    comm_close(r->comm);
    return NULL;
}

static void run(struct rank ranks[2], const char *kind)
{
    struct comm *comms[2];

    comm_threads(2, comms);
    for (int i = 0; i < 2; i++) {
        ranks[i] = (struct rank){.kind = kind, .comm = comms[i]};
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, open_rank, &ranks[i]), 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_join(ranks[i].thread, NULL);
}

static void test_ranks_come_to_the_same(void **state)
{
    (void)state;
    static const char *const kinds[] = {"cpu", "auto"};
    struct rank ranks[2];

    for (int k = 0; k < 2; k++) {
        run(ranks, kinds[k]);
        for (int i = 0; i < 2; i++) {
            assert_non_null(ranks[i].device);
            assert_true(ranks[i].device->ops->on_host);
            device_close(ranks[i].device);
        }
    }
    run(ranks, "cuda");
    for (int i = 0; i < 2; i++) {
        assert_null(ranks[i].device);
        assert_int_equal(ranks[i].e.code, ERR_NOENT);
        assert_non_null(strstr(ranks[i].e.text, "--device cuda: there is no "));
    }
    assert_int_equal(devices_gpus(), 0);
}

/* Also where there are some. */
static int hide_gpus(void **state)
{
    (void)state;
    return setenv("CUDA_VISIBLE_DEVICES", "", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_come_to_the_same),
    };

    return cmocka_run_group_tests_name("devices", tests, hide_gpus, NULL);
}
