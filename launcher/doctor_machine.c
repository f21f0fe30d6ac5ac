/* This machine: our own programs, its limits and addresses, MPI. Libraries of others are
 * opened at run time, in a process of its own. */
#include "config.h"

#include "base/file.h"
#include "base/num.h"
#include "base/units.h"
#include "launcher/batch.h"
#include "launcher/doctor.h"
#include "store/h5.h"
#include "wire/keys.h"
#include "wire/socket.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FILES_ENOUGH     1024
#define PROCESSES_ENOUGH 512

static bool answer(const struct doctor *d, char *const argv[], struct proc_result *r)
{
    struct proc p;

    doctor_start(d, &p, argv);
    return doctor_answer(&p, r);
}

/* The first line of a text. */
static int first_line(const char *text)
{
    return (int)strcspn(text, "\n");
}

/* ---- rung ---- */

/* Beside us, or on PATH; free() it. */
static char *find_program(const char *name)
{
    char *own = own_program(NULL), *path;
    struct str places = STR_INIT;

    if (own && strrchr(own, '/'))
        str_addf(&places, "%.*s:", (int)(strrchr(own, '/') - own), own);
    str_add(&places, getenv("PATH") ? getenv("PATH") : "");
    path = program_find(name, places.p);
    str_free(&places);
    free(own);
    return path;
}

static void say_python(struct doctor *d)
{
    char python[] = "python3", option[] = "-c",
         text[] = "import rung; print(rung.__file__)";
    struct proc_result r;

    if (answer(d, (char *[]){python, option, text, NULL}, &r))
        doctor_say(d, MARK_OK, "for Python", NULL, "%.*s", first_line(r.out.p), r.out.p);
    else if (r.exit_code >= 0)
        doctor_say(d, MARK_NOTE, "for Python",
                   "for trials in Python, install rung, or set PYTHONPATH to rung.py",
                   "python3 does not find the module rung");
    proc_result_free(&r);
}

void doctor_rung(struct doctor *d)
{
    char *own = own_program(NULL), *train = find_program("rung-train"),
         *shim = program_beside("rung-exec");
    char running[H5_VERSION_MAX], built[H5_VERSION_MAX];

    d->group = "rung";
    h5_version(running, built);
    doctor_say(d, MARK_OK, "rung", NULL, "%s with HDF5 %s: %s", PACKAGE_VERSION, running,
               own ? own : "?");
    if (strcmp(running, built) != 0)
        doctor_say(d, MARK_NOTE, "HDF5", "build rung with the HDF5 that it finds here",
                   "rung was built with %s", built);
    if (train)
        doctor_say(d, MARK_OK, "rung-train", NULL, "%s", train);
    else
        doctor_say(d, MARK_OK, "rung-train", NULL,
                   "not here: it was left out, and wants OpenBLAS to be built");
    if (!shim)
        doctor_say(d, MARK_NOTE, "rung-exec", "install it beside rung",
                   "not beside rung: job steps take longer to start");
    say_python(d);
    free(shim);
    free(own);
    free(train);
}

/* ---- host ---- */

struct host_facts {
    char addresses[256], error[200], name[256];
    bool resolves, loopback; /* the name, and to nothing else */
};

static bool is_loopback(const struct sockaddr *a)
{
    const struct sockaddr_in *in = (const void *)a;
    const struct sockaddr_in6 *in6 = (const void *)a;

    return a->sa_family == AF_INET ? ntohl(in->sin_addr.s_addr) >> 24 == 127
                                   : IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

/* Serves as a controller does, for a moment: what would it tell its agents? */
static void find_addresses(void *facts)
{
    struct host_facts *f = facts;
    struct addrinfo *all = NULL, hints = {.ai_socktype = SOCK_STREAM};
    struct socket *s = NULL;
    struct key_pair keys;
    struct err e = {0};

    gethostname(f->name, sizeof(f->name) - 1);
    if (key_pair_make(&keys, &e) != 0 ||
        socket_serve(&s, &keys, keys.public_key, false, &e) != 0) {
        snprintf(f->error, sizeof(f->error), "%.*s", (int)sizeof(f->error) - 1, e.text);
        return;
    }
    snprintf(f->addresses, sizeof(f->addresses), "%s", socket_address(s));
    socket_close(s);
    f->resolves = getaddrinfo(f->name, NULL, &hints, &all) == 0;
    f->loopback = true;
    for (const struct addrinfo *a = all; a; a = a->ai_next)
        f->loopback &= is_loopback(a->ai_addr);
    if (all)
        freeaddrinfo(all);
}

/* "tcp://10.0.0.5:41234 tcp://login1:41234" as "10.0.0.5, login1". */
static void add_hosts(struct str *out, const char *addresses)
{
    char *copy = mem_strdup(addresses), *rest = copy, *word;

    while ((word = strsep(&rest, " ")) != NULL) {
        char *colon = strrchr(word, ':');

        if (strncmp(word, "tcp://", 6) != 0 || !colon)
            continue;
        str_addf(out, "%s%.*s", out->len ? ", " : "", (int)(colon - word - 6), word + 6);
    }
    free(copy);
}

static void say_network(struct doctor *d)
{
    struct host_facts *f = doctor_facts(sizeof(*f));
    bool ended = doctor_apart(d, find_addresses, f), by_name;
    enum doctor_mark lacking = d->slurm ? MARK_BAD : MARK_OK;
    struct str hosts = STR_INIT;

    add_hosts(&hosts, f->addresses);
    by_name = strcmp(hosts.p, f->name) == 0; /* no interface leads anywhere */
    if (f->error[0])
        doctor_say(d, MARK_BAD, "network",
                   "a controller needs it: is ZeroMQ without CURVE?", "%s", f->error);
    else if (!ended)
        doctor_say(d, MARK_NOTE, "network", "look at /etc/resolv.conf and /etc/hosts",
                   "%s: its name is not resolved within %.3g s", hosts.p, d->patience);
    else if (by_name && (!f->resolves || f->loopback))
        doctor_say(d, lacking, "network",
                   "run rung on a host that the nodes reach, as in a job of its own",
                   "%s has no address that other machines can reach", f->name);
    else
        doctor_say(d, MARK_OK, "network", NULL, "agents would try %s", hosts.p);
    str_free(&hosts);
    doctor_facts_free(f, sizeof(*f));
}

/* "20000", or "any number of". */
static double soft_limit(int resource, char text[UNITS_MAX])
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

    getrlimit(resource, &limit);
    strcpy(text, "any number of");
    if (limit.rlim_cur == RLIM_INFINITY)
        return INFINITY;
    num_format_int(text, (int64_t)limit.rlim_cur);
    return (double)limit.rlim_cur;
}

static void say_ulimits(struct doctor *d)
{
    char files[UNITS_MAX], processes[UNITS_MAX];
    double n = soft_limit(RLIMIT_NOFILE, files),
           users = soft_limit(RLIMIT_NPROC, processes);
    const char *next =
        n < FILES_ENOUGH ? "the controller has a connection for each job: ulimit -n 4096"
                         : "run fewer slots here: ulimit -u";

    doctor_say(d, n < FILES_ENOUGH || users < PROCESSES_ENOUGH ? MARK_NOTE : MARK_OK,
               "limits", next, "%s files and connections, %s processes", files,
               processes);
}

void doctor_host(struct doctor *d)
{
    char memory[UNITS_MAX];
    struct utsname u;

    d->group = "machine";
    if (uname(&u) == 0)
        doctor_say(d, MARK_OK, "machine", NULL, "%s %s %s, %ld CPUs, %s", u.sysname,
                   u.release, u.machine, sysconf(_SC_NPROCESSORS_ONLN),
                   size_format(memory, (double)sysconf(_SC_PHYS_PAGES) *
                                           (double)sysconf(_SC_PAGESIZE)));
    say_network(d);
    say_ulimits(d);
}

/* ---- MPI ---- */

struct library_facts {
    bool pmi2, pmix;
};

static void open_libraries(void *facts)
{
    struct library_facts *f = facts;

    f->pmi2 = dlopen("libpmi2.so.0", RTLD_LAZY | RTLD_LOCAL) != NULL;
    f->pmix = dlopen("libpmix.so.2", RTLD_LAZY | RTLD_LOCAL) != NULL;
}

/* "mpirun (Open MPI) 4.1.4", or of MPICH "HYDRA build details:" and a line "Version:". */
static void say_mpirun(struct doctor *d)
{
    char mpirun[] = "mpirun", version[] = "--version";
    struct proc_result r;

    if (answer(d, (char *[]){mpirun, version, NULL}, &r)) {
        const char *line = strstr(r.out.p, "Version:");
        const char *number = line ? line + strcspn(line, " ") : r.out.p;

        number += strspn(number, " ");
        doctor_say(d, MARK_OK, "mpirun", NULL, "%s%.*s", line ? "MPICH's Hydra " : "",
                   first_line(number), number);
    } else if (r.timed_out || r.exit_code > 0) {
        doctor_say(d, MARK_NOTE, "mpirun",
                   "try `mpirun --version`: trials of several "
                   "tasks need it",
                   "it does not work here: %.*s", first_line(r.err.p), r.err.p);
    } else {
        doctor_say(d, MARK_OK, "mpirun", NULL,
                   "not on PATH: of use for trials of several `tasks` only");
    }
    proc_result_free(&r);
}

void doctor_mpi(struct doctor *d)
{
    struct library_facts *f = doctor_facts(sizeof(*f));

    doctor_apart(d, open_libraries, f);
    d->group = "MPI";
    say_mpirun(d);
    doctor_say(d, MARK_OK, "libraries", NULL, "libpmi2 %s, libpmix %s",
               f->pmi2 ? "is there" : "is not", f->pmix ? "is there" : "is not");
    doctor_facts_free(f, sizeof(*f));
}
