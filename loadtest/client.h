#pragma once
/* One process of the load: its connections, its loop. */
#include <stdbool.h>
#include <stdint.h>

#include "loadtest/answers.h"
#include "loadtest/figures.h"
#include "loadtest/sales.h"
#include "loadtest/schedule.h"
#include "loadtest/traffic.h"
#include "shared/address.h"

struct client_plan {
    const struct address *address;
    unsigned connections, pipeline;
    bool closed_loop;   /* each connection sends as soon as it has its answer */
    int64_t length_us;  /* of the run */
    int64_t timeout_us; /* for an answer; and after the end, for what is late */
    int64_t begin_us;   /* monotonic; when intended times begin */
    const char *click_id_param;
    const bool *stop; /* shared; set: no request becomes due any more */
};

/* Runs the load to its end, which comes when the last sale has been told, too. The schedule is only
 * for open loops. False if it could not begin. */
bool client_run(const struct client_plan *plan, struct schedule *schedule, struct traffic *traffic,
                struct figures *figures, struct answers *answers, struct sales *sales,
                struct error *error) MUST_CHECK;
