#pragma once
/* Conversions told on the public plane: /-/postback, /-/pixel.gif and /-/beacon, and the page script
 * /-/kudos.js. A 2xx is sent only once what was told is in the journal; what cannot be used gets a
 * 4xx and a line that says why; a journal that cannot be written is a 503 with Retry-After. The
 * pixel is drawn whatever is wrong with its data, since a page shows it. */
#include "server/conversions/postback.h"
#include "server/redirect/connection.h"
#include "server/redirect/request.h"

/* Before the first request. */
void tell_open(struct worker *worker);

/* Serves the worker's request of one of these routes: its head has `taken` of `length` bytes, its
 * body follows. Returns how many bytes it took with its body, or HTTP_HEAD_PARTIAL with
 * connection->needed. Sets what serve_request() sets. */
int tell_serve(struct connection *connection, enum route route, const char *bytes, size_t length,
               int taken) MUST_CHECK;
