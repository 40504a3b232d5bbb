#pragma once
/* Where the visitor came from. */
#include "server/clicks/event.h"

/* The host of a Referer value, lower-case, without port, userinfo or trailing dot, in `out`. Empty
 * for anything that is no http, https or android-app URL, and for hosts with bytes no host has. */
struct text referrer_host(struct text referrer, char out[EVENT_REFERRER_MAX]);
