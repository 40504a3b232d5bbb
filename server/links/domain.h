#pragma once
/* A domain that links live on, and its record in the replica. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/error.h"
#include "shared/text.h"

#define DOMAIN_HOST_MAX        253
#define DOMAIN_DESTINATION_MAX 4096        /* bytes of each of its URLs */
#define DOMAIN_JSON_MAX        (32 * 1024) /* bytes of each of its JSON texts */
#define DOMAIN_RECORD_MAX      (80 * 1024)

/* Texts point into the replica's map (valid until the read transaction ends) or into the encoder's
 * input. URLs are normalised and sent as they are: no placeholders, nothing is added. */
struct domain {
    uint64_t id;
    uint64_t workspace;
    bool case_sensitive;
    bool is_default;          /* serves every Host that is no registered domain */
    bool click_id;            /* for links with LINK_CLICK_ID_INHERITED: the click id is added */
    uint16_t redirect_status; /* for links whose own is 0: 301, 302, 307 or 308 */
    struct text host;         /* as in a URL, without a port */
    struct text root_destination;      /* where "/" leads; empty: 404 */
    struct text not_found_destination; /* where unknown slugs lead; empty: 404 */
    struct text fallback;              /* of expired and used up links that have none; empty: 410 */
    struct text app_site_association;  /* JSON under /.well-known/apple-app-site-association */
    struct text assetlinks; /* JSON under /.well-known/assetlinks.json; each: empty: 404 */
};

/* Encodes into `out` (DOMAIN_RECORD_MAX); the length. Asserts that texts are within their maxima. */
size_t domain_encode(const struct domain *domain, unsigned char out[DOMAIN_RECORD_MAX]);

/* Decodes without copying texts; false if malformed. Never reads past `length`; `bytes` need not be
 * aligned. */
bool domain_decode(const unsigned char *bytes, size_t length, struct domain *out) MUST_CHECK;
