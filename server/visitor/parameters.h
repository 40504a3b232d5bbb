#pragma once
/* What the parameters of a short link's own query say about where its visitor came from: the list is
 * server/visitor/parameters.txt, built in. */
#include "server/visitor/referrer.h"

struct parameters;

/* Reads the list; to be closed by the caller. Immutable. */
struct parameters *parameters_open(struct error *error) MUST_CHECK;
void parameters_close(struct parameters *parameters);

/* Medium and platform by the first parameters of a raw query (without '?') that are on the list: paid
 * goes before everything else. Medium 0: none is. A parameter without a value says nothing. */
struct origin parameters_origin(const struct parameters *parameters, struct text query);
