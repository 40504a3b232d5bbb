#pragma once
/* `kudos demo --clicks N --seed S`: a season to look at. See demo_season.c. */
#include <libpq-fe.h>
#include <stdint.h>

#include "server/settings.h"
#include "shared/error.h"

#define DEMO_CLICKS_MAX 100000000

/* Makes, in workspace `demo`, three campaigns of the last 90 days with ten influencers, links, codes,
 * contracts and posts, about `clicks` clicks on them and what was bought after. The same clicks and
 * seed make the same season, counted back from the day of the first run; again, or after being
 * killed anywhere, what is missing is made. False with the reason. */
bool demo_season(PGconn *connection, const struct settings *settings, int64_t clicks, int64_t seed,
                 struct error *error) MUST_CHECK;
