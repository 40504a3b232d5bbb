#pragma once
/* The click, and the conversion, as they travel: redirect → journal → ship → Redis → flush →
 * PostgreSQL.
 *
 * An event is identified by (origin, seq) and by nothing else. The payload is versioned,
 * little-endian and self-contained, so that a flusher of a later release can read a journal that
 * an earlier one wrote. Text is already harmless in it: event_encode() replaces bytes that are not
 * UTF-8, and NUL, by U+FFFD, and cuts what is longer than its maximum at a character boundary.
 *
 * The visitor's address is in no field. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/error.h"
#include "shared/text.h"

#define EVENT_VERSION        1
#define EVENT_PAYLOAD_MAX    16384 /* bytes of one encoded payload, whatever its texts */
#define EVENT_REFERRER_MAX   253
#define EVENT_LANGUAGE_MAX   35
#define EVENT_CITY_MAX       96
#define EVENT_REGION_MAX     16
#define EVENT_RULE_MAX       64
#define EVENT_REASON_MAX     120
#define EVENT_TOLD_MAX       16128 /* of a conversion; a click takes some 80 bytes, 1 KiB at most */
#define EVENT_HASH_BYTES     32
#define EVENT_CLASS_NAME_MAX 32

/* What a journal record holds. Numbers are part of the format: never renumber. */
enum event_kind {
    EVENT_CLICK = 1,      /* a struct click */
    EVENT_LOST = 2,       /* a struct lost: clicks that were answered but could not be journalled */
    EVENT_GAP = 3,        /* a struct gap: seqs that can no longer be read; made by ship only */
    EVENT_CONVERSION = 4, /* a struct conversion */
};

/* The verdict: is this a person, and if not, what. Order and numbers are part of the format. */
enum verdict {
    VERDICT_HUMAN = 0,
    VERDICT_BOT = 1,
    VERDICT_PREVIEW = 2,
    VERDICT_PREFETCH = 3,
    VERDICT_DATACENTER = 4,
    VERDICT_INVALID = 5,
    VERDICT_INTERNAL = 6,
};
#define VERDICT_COUNT 7

/* "human", "bot", … as in the PostgreSQL enum kudos.verdict; "unknown" for other numbers. */
const char *verdict_name(enum verdict verdict);

enum click_flag {
    CLICK_NO_VISITOR = 1u << 0, /* Sec-GPC: 1 or DNT: 1 */
    CLICK_CLAMPED = 1u << 1,    /* flush corrected a time that lay in the future */
    CLICK_NO_ID = 1u << 2,      /* answered without a click id */
};

/* One answered GET on a link. Class numbers (device, os, …) index the name tables of
 * server/visitor; 0 is "unknown" in each of them. */
struct click {
    int64_t time_us; /* wall time, microseconds since 1970 */
    uint64_t link;
    uint64_t domain;
    uint64_t workspace;
    uint64_t campaign;   /* 0: none */
    uint64_t influencer; /* 0: none */
    uint64_t visitor;    /* 0: none */
    uint32_t flags;      /* enum click_flag */
    uint32_t asn;        /* 0: unknown */
    uint16_t status;     /* the HTTP status answered */
    uint8_t verdict;     /* enum verdict */
    uint8_t device;
    uint8_t os;
    uint8_t browser;
    uint8_t app;
    uint8_t medium;   /* of the referrer */
    uint8_t platform; /* of the referrer */
    uint8_t variant;  /* of the split that was chosen; 0: none */
    uint16_t route;   /* number of the routing rule that matched, from 1; 0: none */
    char country[2];  /* ISO 3166-1 alpha-2, or two NULs */
    struct text rule; /* what decided the verdict, "" for a plain human */
    struct text referrer_host;
    struct text language; /* first language of Accept-Language, as a BCP 47 tag */
    struct text region;   /* ISO 3166-2 code without the country */
    struct text city;
};

/* Clicks answered while the journal could not be written (disk full). `episode` is random and
 * identifies the loss, so that telling it twice stores it once. */
struct lost {
    uint64_t episode;
    uint64_t count;
    int64_t from_us;
    int64_t until_us;
};

/* Seqs first … last (inclusive) of the record's origin cannot be read any more. The record that
 * carries it stands in the sequence for all of them. */
struct gap {
    uint64_t first;
    uint64_t last;
    struct text reason;
};

/* How a conversion came: the numbers of kudos.conversion_path. What comes over /v1 is in no journal. */
enum conversion_path {
    CONVERSION_POSTBACK = 1,
    CONVERSION_PIXEL = 2,
    CONVERSION_BEACON = 3,
    CONVERSION_SHOPIFY = 4,
    CONVERSION_STRIPE = 5,
    CONVERSION_WOOCOMMERCE = 6,
};
#define CONVERSION_PATHS 7

/* "postback", "pixel", … as in the PostgreSQL enum kudos.conversion_path; NULL for other numbers. */
const char *conversion_path_name(uint8_t path);

/* A conversion that somebody told on a path that must not depend on PostgreSQL. What is journalled
 * is what was extracted, never what was sent; the click id's signature has been looked at. Whether
 * it was told by whom it names is decided when it is taken from kudos.conversion_inbox, where
 * `verified` was not set here: the sources and their secrets are in PostgreSQL. */
struct conversion {
    int64_t time_us;    /* when it was told */
    uint64_t workspace; /* that of the Host's domain, or of the source; 0: unknown */
    uint64_t source;    /* kudos.sources.id that was named; 0: none */
    uint8_t path;       /* enum conversion_path */
    bool verified;      /* whoever took it has proved already that the source sent it */
    unsigned char token_hash[EVENT_HASH_BYTES]; /* SHA-256 of the token that came; zero: none */
    unsigned char digest[EVENT_HASH_BYTES];     /* SHA-256 of what was signed; zero: not signed */
    unsigned char signature[EVENT_HASH_BYTES];  /* that came with it */
    /* JSON as report_make() (server/conversions/report.h) gives it, at most EVENT_TOLD_MAX bytes. */
    struct text told;
};

struct event {
    enum event_kind kind;
    union {
        struct click click;
        struct lost lost;
        struct gap gap;
        struct conversion conversion;
    };
};

/* Encodes into `out` (EVENT_PAYLOAD_MAX bytes); returns the length, always > 0: every event fits,
 * since each text has a maximum. What a conversion told must be UTF-8 without NUL and within
 * EVENT_TOLD_MAX: JSON cannot be cut. */
size_t event_encode(const struct event *event, unsigned char out[EVENT_PAYLOAD_MAX]);

/* Decodes a payload; texts point into `bytes`. False with the reason if it is malformed or of an
 * unknown version; never reads past `length`. */
bool event_decode(const unsigned char *bytes, size_t length, struct event *out,
                  struct error *error) MUST_CHECK;
