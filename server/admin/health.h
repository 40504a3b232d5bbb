#pragma once
/* What monitors and load balancers ask, on the admin address of every supervisor, with or without
 * the role admin: /metrics (Prometheus text), /healthz (this process answers), /readyz (every role
 * of this supervisor serves: 200, else 503). GET and HEAD; no key is needed. Nothing here waits for
 * a store: all that is read is the board in shared memory. */
#include <event2/http.h>

struct metrics_board;

/* Puts the three paths onto `http`. `board` must outlive it. */
void health_register(struct evhttp *http, const struct metrics_board *board);
