#pragma once
/* The verdict: a person, or what else. See enum verdict in server/clicks/event.h. */
#include "server/clicks/event.h"
#include "server/visitor/agent.h"
#include "server/visitor/classify.h"

/* Sets verdict and rule of `out` from the request's headers and what its user agent says. */
void bot_judge(const struct visitor_request *request, const struct agent *agent, struct click *out);
