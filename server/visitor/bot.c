/* The verdict, from request headers and the list of known crawlers. Rules are tried in this order,
 * and the first that applies is stored with the click:
 *
 *   prefetch      Sec-Purpose, Purpose, X-Purpose or X-Moz say that nobody looks yet
 *   preview       a crawler of the list tagged social-preview: it draws the card of a shared link
 *   bot           any other crawler of the list
 *   human         the rest
 *
 * Nothing is dropped here or later: what is not human is stored, flagged, and left out of billable
 * counts. */
#include "server/visitor/bot.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/visitor/pattern.h"
#include "shared/embed.h"
#include "shared/text.h"

EMBED(visitor_crawlers, "server/visitor/crawlers.json");

struct bot {
    enum verdict verdict;
    char rule[EVENT_RULE_MAX + 1];
};

struct bots {
    struct pattern_set *patterns;
    struct bot *list; /* by pattern number */
    size_t count;
};

/* "crawler Googlebot/" from "Googlebot\/": readable in a report. */
static void name_rule(const char *pattern, struct bot *out)
{
    size_t length = strlen(strcpy(out->rule, "crawler "));

    for (; *pattern && length < EVENT_RULE_MAX; pattern++)
        if (*pattern != '\\')
            out->rule[length++] = *pattern;
    out->rule[length] = '\0';
}

static bool has_tag(const json_t *tags, const char *wanted)
{
    size_t i;
    json_t *tag;

    json_array_foreach(tags, i, tag) if (json_is_string(tag) &&
                                         strcmp(json_string_value(tag), wanted) == 0) return true;
    return false;
}

/* One entry of the crawler-user-agents layout: {"pattern": …, "tags": […], …}. */
static bool add_entry(struct bots *bots, const json_t *entry, struct error *error)
{
    const char *pattern = json_string_value(json_object_get(entry, "pattern"));
    struct bot *bot = &bots->list[bots->count];

    if (!pattern)
        return error_set(error, "entry %zu has no \"pattern\"", bots->count + 1);
    if (!pattern_set_add(bots->patterns, pattern, error))
        return error_prefix(error, "entry %zu", bots->count + 1);
    bot->verdict =
        has_tag(json_object_get(entry, "tags"), "social-preview") ? VERDICT_PREVIEW : VERDICT_BOT;
    name_rule(pattern, bot);
    bots->count++;
    return true;
}

static bool add_list(struct bots *bots, const json_t *list, struct error *error)
{
    size_t i;
    json_t *entry;

    if (!json_is_array(list))
        return error_set(error, "not an array");
    bots->list = realloc(bots->list, (bots->count + json_array_size(list)) * sizeof *bots->list);
    assert(bots->list);
    json_array_foreach(list, i, entry) if (!add_entry(bots, entry, error)) return false;
    return true;
}

struct bots *bots_open(struct error *error)
{
    struct bots *bots = calloc(1, sizeof *bots);
    json_error_t reason;
    json_t *list = json_loadb(visitor_crawlers, EMBED_SIZE(visitor_crawlers), 0, &reason);

    assert(bots && list); /* it was built in; a unit test reads it too */
    bots->patterns = pattern_set_new(false);
    if (!add_list(bots, list, error) || !pattern_set_compile(bots->patterns, error)) {
        error_prefix(error, "crawlers.json");
        bots_close(bots);
        bots = NULL;
    }
    json_decref(list);
    return bots;
}

void bots_close(struct bots *bots)
{
    if (!bots)
        return;
    pattern_set_free(bots->patterns);
    free(bots->list);
    free(bots);
}

static void set_verdict(struct click *out, enum verdict verdict, const char *rule)
{
    out->verdict = verdict;
    out->rule = (struct text){rule, strlen(rule)};
}

void bots_judge(const struct bots *bots, const struct visitor_request *request, struct click *out)
{
    int number;

    if (text_contains_nocase(request->sec_purpose, "prefetch")) {
        set_verdict(out, VERDICT_PREFETCH, "Sec-Purpose");
        return;
    }
    if (text_contains_nocase(request->purpose, "prefetch") ||
        text_contains_nocase(request->purpose, "preview")) {
        set_verdict(out, VERDICT_PREFETCH, "Purpose");
        return;
    }
    number = pattern_set_match(bots->patterns, request->user_agent);
    if (number == PATTERN_NONE)
        set_verdict(out, VERDICT_HUMAN, "");
    else
        set_verdict(out, bots->list[number].verdict, bots->list[number].rule);
}
