#pragma once
/* What this room knows about user agents: the embedded lists (crawlers.json, agents.txt) and the
 * operator's own (setting bot_patterns), compiled into one automaton. One pass over a user agent
 * answers every question below. Immutable once open; a reload opens a new one beside it. */
#include <stdint.h>

#include "server/visitor/pattern.h"
#include "shared/error.h"
#include "shared/text.h"

/* Questions asked of a user agent, in agents.txt by these names in lower case. */
enum list_group {
    LIST_OPERATOR, /* the operator's own list */
    LIST_CRAWLER,  /* crawlers.json */
    LIST_PREVIEW,  /* fetchers that draw the card of a shared link */
    LIST_BOT,      /* words that only machines use */
    LIST_MAYBE,    /* words that machines use, and models of phones too */
    LIST_PERSON,   /* words that look like those but are used by people */
    LIST_ENGINE,   /* a browser engine, or a phone's own browser */
    LIST_OS,
    LIST_BROWSER,
    LIST_APP,
    LIST_DEVICE, /* devices by name, whatever else the user agent says */
    LIST_MOBILE, /* says that it is a phone, or that it is a tablet */
    LIST_GROUPS,
};

/* A pattern's meaning. */
struct list_entry {
    uint8_t class;    /* verdict of the first three groups; number of the class elsewhere */
    const char *rule; /* text for `rule`, at most EVENT_RULE_MAX bytes; "" where there is none */
};

struct lists;

/* `operator_path`: "" for none. */
struct lists *lists_open(const char *operator_path, struct error *error) MUST_CHECK;
void lists_close(struct lists *lists);

/* Fills `out` by group: the first entry of the group that matches, or NULL. */
struct list_hits {
    const struct list_entry *of[LIST_GROUPS];
};
void lists_match(const struct lists *lists, struct text user_agent, struct list_hits *out);
