#pragma once
/* Rows of kudos.links and kudos.domains as PostgreSQL's binary COPY sends them, and what becomes of
 * them in the replica. Pure: no connection, no allocation.
 *
 * A row that PostgreSQL holds but that cannot be served (a destination that no Location header may
 * carry, a slug that is too long) is no failure: its `problem` says why, and the caller leaves that
 * one row out. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/links/destination.h"
#include "server/links/link.h"
#include "shared/error.h"

/* What to select, in this order. */
#define ROW_LINK_COLUMNS                                                                 \
    "id, workspace_id, domain_id, campaign_id, influencer_id, changed, redirect_status," \
    " pass_query, click_id, state, starts_at, expires_at, slug, slug_key, destination, fallback"
#define ROW_LINK_ID_COLUMNS "id, domain_id, slug_key"
#define ROW_DOMAIN_COLUMNS  "id, workspace_id, case_sensitive, is_default, host"

struct link_row {
    struct link link; /* ready to be stored if there is no problem; else only its id counts */
    struct text slug_key;
    bool has_problem;
    struct error problem;
    struct destination destination, fallback; /* texts of `link` */
};

struct link_id_row {
    uint64_t id;
    uint64_t domain;
    struct text slug_key;
};

struct domain_row {
    struct domain domain;
    bool has_problem;
    struct error problem;
};

/* The tuple in one message of COPY … (format binary): skips the stream's header if it is in front.
 * `tuple->bytes` is NULL for the stream's trailer. False if it is not such a message. */
bool row_tuple(const char *message, size_t length, struct text *tuple,
               struct error *error) MUST_CHECK;

/* Each: a tuple of the columns above; texts point into it, or into `out`. False only if the tuple
 * does not have these columns at all. */
bool row_link(struct text tuple, struct link_row *out, struct error *error) MUST_CHECK;
bool row_link_id(struct text tuple, struct link_id_row *out, struct error *error) MUST_CHECK;
bool row_domain(struct text tuple, struct domain_row *out, struct error *error) MUST_CHECK;
