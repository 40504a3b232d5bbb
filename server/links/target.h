#pragma once
/* A target: a destination as a marketer writes it, made ready for the redirect.
 *
 * A marketer may write placeholders in path, query and fragment, never in the host:
 *   {handle} {code} {campaign} {slug}   known when the link is compiled, replaced then
 *   {country} {click_id}                known when somebody clicks, left for the redirect
 * and a link or its campaign may name UTM parameters. What is filled in is percent-encoded, so no
 * value can leave its place; a parameter that the destination has itself stays as it is. */
#include <stdbool.h>
#include <stddef.h>

#include "server/links/link.h"
#include "shared/error.h"
#include "shared/text.h"

#define TARGET_UTM_COUNT 5
#define TARGET_UTM_MAX   256 /* bytes of one value, before encoding; what is longer is cut */

/* utm_source, utm_medium, utm_campaign, utm_content, utm_term */
extern const char *const target_utm_names[TARGET_UTM_COUNT];

/* What is filled in. Empty texts fill in nothing; a UTM text may itself hold the placeholders that
 * are known when the link is compiled. */
struct target_values {
    struct text handle, code, campaign, slug;
    struct text utm[TARGET_UTM_COUNT];
};

struct target {
    char url[LINK_DESTINATION_MAX + 1]; /* normalised, NUL-terminated; {country}, {click_id} left */
    size_t length;
    size_t fragment_offset;          /* of '#', or `length` */
    size_t host_offset, host_length; /* of the destination's host */
    bool has_query;
    bool is_template; /* a placeholder is left */
};

/* Checks, normalises and fills in; `values` may be NULL: placeholders stay, nothing is added (that is
 * what is stored). False with a reason that a marketer understands. */
bool target_compile(struct text url, const struct target_values *values, struct target *out,
                    struct error *error) MUST_CHECK;

/* Host and, if it is not the scheme's own, port: "example.com:8080". Points into `target`. */
struct text target_authority(const struct target *target);

/* The length of the placeholder ({country}, {click_id}) that begins at `at`; 0: none does. */
size_t target_placeholder(const struct target *target, size_t at);
