#include "launcher/routes.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/vec.h"

#include <stdlib.h>

#define SAID_MAX 4 /* packets of an agent that may be overtaken by as many, less one */

struct said {
    uint64_t hash; /* of a packet */
    double at;
};

struct route {
    uint64_t peer;
    struct said said[SAID_MAX]; /* last, a ring */
    unsigned n;
};

struct routes {
    double again;
    struct map by_agent; /* -> index in v */
    VEC(struct route) v;
};

struct routes *routes_new(double again)
{
    struct routes *r = mem_alloc(sizeof(*r));

    r->again = again;
    return r;
}

void routes_free(struct routes *r)
{
    if (!r)
        return;
    map_free(&r->by_agent);
    vec_free(&r->v);
    free(r);
}

static struct route *route_of(struct routes *r, uint64_t agent)
{
    uint32_t i;

    if (!map_get(&r->by_agent, agent, &i)) {
        i = (uint32_t)r->v.n;
        map_put(&r->by_agent, agent, i);
        vec_push(&r->v, (struct route){0});
    }
    return &r->v.v[i];
}

static bool is_copy(const struct route *route, uint64_t hash, double since)
{
    for (unsigned i = 0; i < SAID_MAX && i < route->n; i++) {
        if (route->said[i].hash == hash && route->said[i].at > since)
            return true;
    }
    return false;
}

void routes_heard(struct routes *r, uint64_t agent, uint64_t peer, const char *packet,
                  size_t n, double now)
{
    struct route *route = route_of(r, agent);
    struct said said = {hash64(packet, n), now};

    if (route->n > 0 && peer != route->peer && is_copy(route, said.hash, now - r->again))
        return;
    route->peer = peer;
    route->said[route->n++ % SAID_MAX] = said;
}

bool routes_find(const struct routes *r, uint64_t agent, uint64_t *peer)
{
    uint32_t i;

    if (!map_get(&r->by_agent, agent, &i))
        return false;
    *peer = r->v.v[i].peer;
    return true;
}
