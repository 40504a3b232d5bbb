#pragma once
/* The compiled link: what `sync` writes into the replica and `redirect` reads, ready to use
 * without parsing. Little-endian, versioned, self-contained; a replica of another
 * LINK_RECORD_VERSION is rebuilt from PostgreSQL. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/clicks/event.h" /* struct text */
#include "server/links/domain.h"
#include "shared/error.h"

#define LINK_RECORD_VERSION  2
#define LINK_SLUG_MAX        64   /* bytes, after percent-decoding */
#define LINK_DESTINATION_MAX 4096 /* bytes, normalised */
#define LINK_HOST_MAX        253
#define LINK_RULES_MAX       (8 * 1024) /* bytes of a compiled program (rules.h) */
#define LINK_NAME_MAX        400        /* bytes of a campaign's or influencer's name */
#define LINK_PROFILE_MAX     2048       /* bytes of the address of an influencer's profile */
#define LINK_RECORD_MAX      (24 * 1024)

enum link_state { LINK_ACTIVE = 0, LINK_DISABLED = 1, LINK_ARCHIVED = 2 };

enum link_flag {
    LINK_PASS_QUERY = 1u << 0,         /* the request's query parameters go on to the destination */
    LINK_NO_CLICK_ID = 1u << 1,        /* no kudos_id on the destination */
    LINK_HAS_QUERY = 1u << 2,          /* the destination has a '?' before its fragment */
    LINK_CLICK_ID_INHERITED = 1u << 3, /* the domain says whether; LINK_NO_CLICK_ID is not set */
    LINK_TEMPLATE = 1u << 4,           /* the destination holds {country} or {click_id} */
    LINK_FALLBACK_TEMPLATE = 1u << 5,  /* so does the fallback */
    LINK_USED_UP = 1u << 6,            /* max_clicks is reached: treated like an expired link */
};

/* A link as the redirect sees it. Texts point into the replica's map (valid until the read
 * transaction ends) or into the encoder's input. Times are wall-clock microseconds, 0: none. */
struct link {
    uint64_t id;
    uint64_t workspace;
    uint64_t domain;
    uint64_t campaign;   /* 0: none */
    uint64_t influencer; /* 0: none */
    uint64_t changed;    /* xid8 of the PostgreSQL transaction that wrote this state */
    int64_t starts_at_us;
    int64_t expires_at_us;
    uint32_t flags;           /* enum link_flag */
    uint32_t fragment_offset; /* where '#' is in the destination; its length if there is none */
    uint16_t redirect_status; /* 301, 302, 307 or 308; 0: the domain's */
    uint8_t state;            /* enum link_state */
    struct text slug;         /* as it was given, not folded */
    struct text destination;  /* {handle} and its like and UTM parameters are filled in */
    struct text fallback; /* where visitors of an expired or used up link go; empty: the domain's */
    struct text rules;    /* a program for rules_choose(); empty: none */
    /* For the preview page: */
    struct text campaign_name;
    struct text influencer_name; /* their handle if they have no name */
    struct text influencer_url;  /* of their profile, an absolute http or https URL; may be empty */
};

/* Encodes into `out` (LINK_RECORD_MAX); the length. Asserts that texts are within their maxima. */
size_t link_encode(const struct link *link, unsigned char out[LINK_RECORD_MAX]);

/* Decodes without copying texts; false if malformed or of another version. Never reads past
 * `length`; `bytes` need not be aligned. */
bool link_decode(const unsigned char *bytes, size_t length, struct link *out) MUST_CHECK;
