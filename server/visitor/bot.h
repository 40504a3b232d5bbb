#pragma once
/* The verdict: a person, or what else. See enum verdict in server/clicks/event.h. */
#include "server/clicks/event.h"
#include "server/visitor/agent.h"
#include "server/visitor/classify.h"

/* What is known of the sender besides the headers. */
struct bot_evidence {
    bool untracked;  /* the address is in untracked_networks */
    bool datacenter; /* the network is one of servers */
    struct agent agent;
};

/* Sets verdict and rule of `out`. */
void bot_judge(const struct visitor_request *request, const struct bot_evidence *evidence,
               struct click *out);
