#pragma once
/* The verdict: a person, or what else. See enum verdict in server/clicks/event.h. */
#include "server/clicks/event.h"
#include "server/visitor/classify.h"
#include "shared/error.h"

struct bots;

/* Builds the automaton from the embedded list (server/visitor/crawlers.json). */
struct bots *bots_open(struct error *error) MUST_CHECK;
void bots_close(struct bots *bots);

/* Sets verdict and rule of `out`. The rule lives as long as `bots`. */
void bots_judge(const struct bots *bots, const struct visitor_request *request, struct click *out);
