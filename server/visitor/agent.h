#pragma once
/* What a user agent says, with its client hints: device, operating system, browser, app, and the
 * verdict as far as the user agent decides it. Pure. */
#include <stdint.h>

#include "server/visitor/lists.h"
#include "shared/text.h"

/* Bytes of a user agent that are looked at. */
#define AGENT_MAX 2048

/* What is read of a request; texts are raw header values, empty when absent. */
struct agent_request {
    struct text user_agent;
    struct text brands;         /* Sec-CH-UA */
    struct text mobile;         /* Sec-CH-UA-Mobile */
    struct text platform;       /* Sec-CH-UA-Platform */
    struct text model;          /* Sec-CH-UA-Model */
    struct text requested_with; /* X-Requested-With: an Android app's name */
};

struct agent {
    uint8_t verdict; /* VERDICT_HUMAN, _BOT, _PREVIEW or _INVALID */
    uint8_t device, os, browser, app;
    const char *rule; /* lives as long as the lists */
};

void agent_read(const struct lists *lists, const struct agent_request *request, struct agent *out);
