#pragma once
/* Who asks: the visitor's address behind proxies, the classes, the visitor value of the day, and
 * what chances are drawn from. The address is looked up, hashed and forgotten. */
#include "server/redirect/worker.h"

/* Seeds the worker's chances; once, after fork. */
void visit_open(struct worker *worker);

/* Reads the salt of the day that the round began in; none: no visitor values are made. Inside a
 * round. */
void visit_read_salt(struct worker *worker);

/* The same if the day is another one than before. */
void visit_follow_day(struct worker *worker);

/* Fills classes, verdict and visitor value of a click on `link` (NULL: there is none) by the worker's
 * request, which came from `peer` (NULL: unknown). Texts live as long as the request and `scratch`.
 */
void visit_classify(struct worker *worker, const struct sockaddr *peer, const struct link *link,
                    struct classify_scratch *scratch, struct click *click);

/* What the variant of a split is chosen by: the same for a visitor and link all day, random without
 * a visitor value. */
uint64_t visit_draw(struct worker *worker, const struct click *click);
