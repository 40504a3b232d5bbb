#pragma once
/* Rows of kudos.links and kudos.domains as PostgreSQL's binary COPY sends them, and what becomes of
 * them in the replica. Pure: no connection; only rules and UTM parameters, which are JSON, allocate
 * while they are read.
 *
 * A row that PostgreSQL holds but that cannot be served (a destination that no Location header may
 * carry, a slug that is too long) is no failure: its `problem` says why, and the caller leaves that
 * one row out. A row of which only a part cannot be served (rules that do not compile, a fallback of
 * a domain that is no URL) is served without that part, and its `note` says so. Neither can come
 * from the API; whoever writes with SQL may store anything. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/links/destination.h"
#include "server/links/link.h"
#include "server/links/relations.h"
#include "server/links/rules.h"
#include "server/links/target.h"
#include "shared/error.h"

/* What to select, in this order, from what. Campaign and influencer are looked up row by row, in
 * the order of the links, so that a snapshot comes in the order of its keys without being sorted;
 * PostgreSQL remembers them from link to link. */
#define ROW_LINK_COLUMNS                                                                           \
    "l.id, l.workspace_id, l.domain_id, l.campaign_id, l.influencer_id, l.changed,"                \
    " l.redirect_status, l.pass_query, l.click_id, l.used_up, l.state, l.starts_at, l.expires_at," \
    " l.slug, l.slug_key, l.destination, l.fallback, l.rules, l.utm,"                              \
    " c.utm, c.slug, c.name, i.handle, i.name, i.url,"                                             \
    " case when l.names_code or c.names_code then"                                                 \
    " (select k.code from kudos.codes k where k.campaign_id = l.campaign_id"                       \
    " and k.influencer_id = l.influencer_id order by k.id limit 1) end"
#define ROW_LINK_FROM                                                                         \
    " from kudos.links l"                                                                     \
    " left join lateral (select slug, name, utm, names_code from kudos.campaigns"             \
    " where id = l.campaign_id limit 1) c on true"                                            \
    " left join lateral (select handle, name, (select p.url from kudos.influencer_profiles p" \
    " where p.influencer_id = influencers.id order by p.followers desc nulls last, p.id"      \
    " limit 1) as url from kudos.influencers where id = l.influencer_id limit 1) i on true"
/* The same without looking up what struct relations holds, which row_link() then does. */
#define ROW_LINK_OWN_COLUMNS                                                                       \
    "l.id, l.workspace_id, l.domain_id, l.campaign_id, l.influencer_id, l.changed,"                \
    " l.redirect_status, l.pass_query, l.click_id, l.used_up, l.state, l.starts_at, l.expires_at," \
    " l.slug, l.slug_key, l.destination, l.fallback, l.rules, l.utm,"                              \
    " null, null, null, null, null, null,"                                                         \
    " case when l.names_code"                                                                      \
    " or l.campaign_id in (select id from kudos.campaigns where names_code) then"                  \
    " (select k.code from kudos.codes k where k.campaign_id = l.campaign_id"                       \
    " and k.influencer_id = l.influencer_id order by k.id limit 1) end"
#define ROW_LINK_ID_COLUMNS "id, domain_id, slug_key"
#define ROW_DOMAIN_COLUMNS                                                            \
    "id, workspace_id, case_sensitive, is_default, click_id, redirect_status, host,"  \
    " root_destination, not_found_destination, fallback, app_site_association::text," \
    " assetlinks::text"

struct link_row {
    struct link link; /* ready to be stored if there is no problem; else only its id counts */
    struct text slug_key;
    bool has_problem, has_note;
    struct error problem, note;
    /* What texts of `link` point into. */
    struct target destination, fallback;
    struct destination profile;
    unsigned char rules[RULES_BYTES_MAX];
    char utm[TARGET_UTM_COUNT][TARGET_UTM_MAX]; /* of `link` until it is compiled */
};

struct link_id_row {
    uint64_t id;
    uint64_t domain;
    struct text slug_key;
};

struct domain_row {
    struct domain domain;
    bool has_problem, has_note;
    struct error problem, note;
    struct destination root, not_found, fallback; /* texts of `domain` */
};

/* The tuple in one message of COPY … (format binary): skips the stream's header if it is in front.
 * `tuple->bytes` is NULL for the stream's trailer. False if it is not such a message. */
bool row_tuple(const char *message, size_t length, struct text *tuple,
               struct error *error) MUST_CHECK;

/* Each: a tuple of the columns above; texts point into it, or into `out`. False only if the tuple
 * does not have these columns at all. `relations`: NULL, or what the tuple's own columns leave out. */
bool row_link(struct text tuple, const struct relations *relations, struct link_row *out,
              struct error *error) MUST_CHECK;
bool row_link_id(struct text tuple, struct link_id_row *out, struct error *error) MUST_CHECK;
bool row_domain(struct text tuple, struct domain_row *out, struct error *error) MUST_CHECK;

/* An id and three texts. */
bool row_relation(struct text tuple, uint64_t *id, struct relation *out,
                  struct error *error) MUST_CHECK;
