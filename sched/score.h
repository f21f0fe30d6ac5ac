/* What a trial came to: a value for each of the sweep's objectives.
 *
 * Where scores are compared they are turned, so that smaller is better in all of them.
 * The values behind the last objective are 0 in every score, which is why nothing here
 * asks how many objectives there are. */
#ifndef SCHED_SCORE_H
#define SCHED_SCORE_H

#include <math.h>
#include <stdbool.h>

/* With more, hardly a trial is worse than another in all of them, and there is nothing to
 * rank by. */
#define OBJECTIVES_MAX 4

struct score {
    double v[OBJECTIVES_MAX];
};

/* Of one objective. */
static inline struct score score_of(double value)
{
    return (struct score){{value}};
}

/* Of nothing reported yet: NaN. */
static inline struct score score_none(int objectives)
{
    struct score s = {{0}};

    for (int i = 0; i < objectives; i++)
        s.v[i] = NAN;
    return s;
}

static inline bool score_finite(const struct score *s)
{
    bool finite = true;

    for (int i = 0; i < OBJECTIVES_MAX; i++)
        finite = finite && isfinite(s->v[i]);
    return finite;
}

/* Is a at least as good as b in all objectives, and better in one? */
static inline bool score_dominates(const struct score *a, const struct score *b)
{
    bool better = false, worse = false;

    for (int i = 0; i < OBJECTIVES_MAX; i++) {
        better |= a->v[i] < b->v[i];
        worse |= a->v[i] > b->v[i];
    }
    return better && !worse;
}

/* By the first objective, of equal ones by the second, and so on: < 0, 0 or > 0. */
static inline int score_compare(const struct score *a, const struct score *b)
{
    for (int i = 0; i < OBJECTIVES_MAX; i++)
        if (a->v[i] != b->v[i])
            return a->v[i] < b->v[i] ? -1 : 1;
    return 0;
}

#endif
