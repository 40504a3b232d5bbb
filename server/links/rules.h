#pragma once
/* Routing rules: where a link leads whom.
 *
 * A marketer writes them as JSON, an array in which the first rule that matches wins:
 *
 *   [{"if":   {"device": ["smartphone"], "os": ["iOS"], "app": ["Instagram"], "country": ["DE"],
 *              "region": ["US-CA"], "city": ["Berlin"], "language": ["de", "pt-BR"],
 *              "platform": ["instagram"], "verdict": ["human"], "query": {"src": "tt", "x": null},
 *              "time": {"from": "2026-06-01T00:00:00Z", "until": "2026-07-01T00:00:00Z"}},
 *     "then": {"destination": "https://…"}}]
 *
 * Conditions are joined by AND, the values of one by OR; a query parameter of value null need only
 * be there. Instead of "destination", "then" may hold
 *   {"split": [{"weight": 70, "destination": "https://a…"}, {"weight": 30, "destination": …}]}
 *       2 to 10 variants whose weights add up to 100; a visitor stays with one for the day
 *   {"app": {"ios": {"link": "https://…", "store": "https://apps.apple.com/…"},
 *            "android": {"package": "com.example", "link": "https://…", "store": "https://…"}}}
 *       iOS: the universal link, which opens the app where it is installed, or the store where no
 *       link is given; Android: an intent that opens the app or leads to the store. On a system that
 *       it does not name the rule does not match.
 *   {"block": 404} or {"block": 410}
 *
 * rules_compile() makes a program of it (for the replica); rules_choose() runs that without
 * allocation. A program that does not add up chooses nothing and is never read past its end. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/clicks/event.h"
#include "server/links/target.h"
#include "shared/error.h"

#define RULES_MAX         50  /* of one link */
#define RULE_VALUES_MAX   250 /* of one condition */
#define RULE_VARIANTS_MAX 10
#define RULES_BYTES_MAX   LINK_RULES_MAX /* of a program: what compiles fits into a record */

/* Where a rule was refused, and why. */
struct rules_problem {
    char pointer[128]; /* JSON pointer below the array: "/0/if/device/1" */
    struct error error;
};

/* Compiles JSON text. `values` as for target_compile(): NULL only checks. `is_own_host` (may be NULL)
 * says whether "host" or "host:port" is a short domain of this service: a rule that leads there is
 * refused.
 * Returns the length of the program (0 for an empty array), or -1 with the problem. */
int rules_compile(struct text json, const struct target_values *values,
                  bool (*is_own_host)(void *owner, struct text authority), void *owner,
                  unsigned char out[RULES_BYTES_MAX], struct rules_problem *problem) MUST_CHECK;

/* What rules look at. */
struct rules_visitor {
    const struct click *click; /* after classify() */
    struct text query;         /* raw, of the request, without '?' */
    int64_t now_us;
    uint64_t draw; /* chooses the variant: from the visitor value, else random */
};

enum rules_action { RULES_NOTHING, RULES_REDIRECT, RULES_BLOCK };

struct rules_choice {
    enum rules_action action;
    uint16_t route;  /* number of the rule, from 1 */
    uint8_t variant; /* of a split, from 1; else 0 */
    uint16_t status; /* of RULES_BLOCK */
    /* of RULES_REDIRECT; texts point into the program */
    struct text destination;
    size_t fragment_offset;
    bool has_query;
    bool is_template;
};

/* The first rule that matches; `out->action` is RULES_NOTHING if none does. */
void rules_choose(struct text program, const struct rules_visitor *visitor,
                  struct rules_choice *out);
