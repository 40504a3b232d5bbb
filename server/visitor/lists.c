/* See lists.h. Formats:
 *
 *   crawlers.json, operator's list: the crawler-user-agents layout, [{"pattern": …, "tags": […]},
 *     …]; the tag social-preview makes it a preview. Patterns heed case.
 *   agents.txt: a line is "group name pattern"; '#' begins a comment line. Underscores in a name
 *     stand for spaces. An alternative without capitals ignores case, one with capitals heeds it.
 *     Within a group the first line that matches counts. "skip - PATTERN" leaves a pattern of
 *     crawlers.json out, letter by letter. */
#include "server/visitor/lists.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/event.h"
#include "server/visitor/classes.h"
#include "shared/embed.h"

EMBED(visitor_crawlers, "server/visitor/crawlers.json");
EMBED(visitor_agents, "server/visitor/agents.txt");

#define OPERATOR_BYTES_MAX (8 * 1024 * 1024) /* of the operator's file */
#define SKIPPED_MAX        64                /* "skip" lines of agents.txt */

struct lists {
    struct pattern_set *patterns;
    struct list_entry *entries; /* by pattern number */
    size_t count, capacity;
    struct text skipped[SKIPPED_MAX];
    size_t skipped_count;
};

static bool add(struct lists *lists, enum list_group group, const char *pattern,
                enum pattern_case letters, struct list_entry entry, struct error *error)
{
    if (!pattern_set_add(lists->patterns, group, pattern, letters, error))
        return false;
    if (lists->count == lists->capacity) {
        lists->capacity = lists->capacity ? 2 * lists->capacity : 4096;
        lists->entries = realloc(lists->entries, lists->capacity * sizeof lists->entries[0]);
        assert(lists->entries);
    }
    entry.rule = strdup(entry.rule);
    assert(entry.rule);
    lists->entries[lists->count++] = entry;
    return true;
}

/* "crawler Googlebot/" from "Googlebot\/": readable in a report. */
static void name_rule(const char *prefix, const char *name, char out[EVENT_RULE_MAX + 1])
{
    size_t length = (size_t)snprintf(out, EVENT_RULE_MAX + 1, "%s ", prefix);

    for (; *name && length < EVENT_RULE_MAX; name++)
        if (*name != '\\')
            out[length++] = *name;
    out[length] = '\0';
}

/* ---- crawler-user-agents layout -------------------------------------------------------------- */

static bool has_tag(const json_t *tags, const char *wanted)
{
    size_t i;
    json_t *tag;

    json_array_foreach(tags, i, tag)
    {
        if (json_is_string(tag) && strcmp(json_string_value(tag), wanted) == 0)
            return true;
    }
    return false;
}

static bool is_skipped(const struct lists *lists, enum list_group group, const char *pattern)
{
    for (size_t i = 0; group == LIST_CRAWLER && i < lists->skipped_count; i++)
        if (strlen(pattern) == lists->skipped[i].length &&
            memcmp(pattern, lists->skipped[i].bytes, lists->skipped[i].length) == 0)
            return true;
    return false;
}

static bool add_json_entry(struct lists *lists, enum list_group group, const json_t *item,
                           struct error *error)
{
    const char *pattern = json_string_value(json_object_get(item, "pattern"));
    bool preview = has_tag(json_object_get(item, "tags"), "social-preview");
    char rule[EVENT_RULE_MAX + 1];

    if (!pattern)
        return error_set(error, "it has no \"pattern\"");
    if (is_skipped(lists, group, pattern))
        return true;
    name_rule(group == LIST_OPERATOR ? "own" : "crawler", pattern, rule);
    return add(lists, group, pattern, PATTERN_EXACT,
               (struct list_entry){preview ? VERDICT_PREVIEW : VERDICT_BOT, rule}, error);
}

static bool add_json(struct lists *lists, enum list_group group, const json_t *list,
                     struct error *error)
{
    size_t i;
    json_t *item;

    if (!json_is_array(list))
        return error_set(error, "it is not an array");
    json_array_foreach(list, i, item)
    {
        if (!add_json_entry(lists, group, item, error))
            return error_prefix(error, "entry %zu", i + 1);
    }
    return true;
}

static bool add_crawlers(struct lists *lists, struct error *error)
{
    json_error_t reason;
    json_t *list = json_loadb(visitor_crawlers, EMBED_SIZE(visitor_crawlers), 0, &reason);
    bool added;

    assert(list); /* it was built in; a unit test reads it too */
    added = add_json(lists, LIST_CRAWLER, list, error);
    json_decref(list);
    return added || error_prefix(error, "crawlers.json");
}

/* The whole file as JSON; NULL with the reason. */
static json_t *read_operator_file(const char *path, struct error *error)
{
    FILE *file = fopen(path, "rbe");
    char *bytes;
    size_t length;
    json_error_t reason;
    json_t *list = NULL;

    if (!file) {
        error_set(error, "%s", strerror(errno));
        return NULL;
    }
    bytes = malloc(OPERATOR_BYTES_MAX + 1);
    assert(bytes);
    length = fread(bytes, 1, OPERATOR_BYTES_MAX + 1, file);
    if (ferror(file))
        error_set(error, "%s", strerror(errno));
    else if (length > OPERATOR_BYTES_MAX)
        error_set(error, "it is longer than %d bytes", OPERATOR_BYTES_MAX);
    else if (!(list = json_loadb(bytes, length, 0, &reason)))
        error_set(error, "line %d: %s", reason.line, reason.text);
    free(bytes);
    fclose(file);
    return list;
}

static bool add_operator(struct lists *lists, const char *path, struct error *error)
{
    json_t *list;
    bool added;

    if (!path[0])
        return true;
    list = read_operator_file(path, error);
    added = list && add_json(lists, LIST_OPERATOR, list, error);
    json_decref(list);
    return added || error_prefix(error, "bot_patterns: %.200s", path);
}

/* ---- agents.txt ------------------------------------------------------------------------------ */

static uint8_t bot_number(struct text name)
{
    (void)name;
    return VERDICT_BOT;
}

static uint8_t preview_number(struct text name)
{
    (void)name;
    return VERDICT_PREVIEW;
}

static uint8_t one(struct text name)
{
    (void)name;
    return 1;
}

static const struct {
    const char *name;
    enum list_group group;
    uint8_t (*number)(struct text name);
    const char *rule; /* how a rule's text begins; NULL: none */
} groups[] = {
    {"preview", LIST_PREVIEW, preview_number, "preview"},
    {"bot", LIST_BOT, bot_number, "word"},
    {"maybe", LIST_MAYBE, bot_number, "word"},
    {"person", LIST_PERSON, one, NULL},
    {"engine", LIST_ENGINE, one, NULL},
    {"os", LIST_OS, os_number, NULL},
    {"browser", LIST_BROWSER, browser_number, NULL},
    {"app", LIST_APP, app_number, NULL},
    {"device", LIST_DEVICE, device_number, NULL},
    {"mobile", LIST_MOBILE, device_number, NULL},
};

/* The next word of a line; what is behind it and its spaces stays in `rest`. */
static struct text next_word(struct text *rest)
{
    struct text word = text_cut(rest, ' ');

    *rest = text_trim(*rest);
    return word;
}

static bool add_pattern(struct lists *lists, struct text group, struct text name,
                        const char *pattern, struct error *error)
{
    char clear[64], rule[EVENT_RULE_MAX + 1];

    snprintf(clear, sizeof clear, "%.*s", (int)name.length, name.bytes);
    for (char *c = clear; *c; c++)
        *c = *c == '_' ? ' ' : *c;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        struct list_entry entry = {.rule = ""};

        if (!text_equals_nocase(group, groups[i].name))
            continue;
        entry.class = groups[i].number((struct text){clear, strlen(clear)});
        if (entry.class == CLASS_UNKNOWN)
            return error_set(error, "no class \"%s\"", clear);
        if (groups[i].rule) {
            name_rule(groups[i].rule, clear, rule);
            entry.rule = rule;
        }
        return add(lists, groups[i].group, pattern, PATTERN_SMART, entry, error);
    }
    return error_set(error, "no group \"%.*s\"", (int)group.length, group.bytes);
}

static bool add_line(struct lists *lists, struct text line, struct error *error)
{
    struct text rest = text_trim(line), group = next_word(&rest), name = next_word(&rest);
    char pattern[PATTERN_LENGTH_MAX + 1];

    if (group.length == 0 || group.bytes[0] == '#')
        return true;
    if (rest.length == 0 || rest.length > PATTERN_LENGTH_MAX)
        return error_set(error, "not \"group name pattern\"");
    if (text_equals_nocase(group, "skip")) {
        assert(lists->skipped_count < SKIPPED_MAX);
        lists->skipped[lists->skipped_count++] = rest;
        return true;
    }
    memcpy(pattern, rest.bytes, rest.length);
    pattern[rest.length] = '\0';
    return add_pattern(lists, group, name, pattern, error);
}

static bool add_agents(struct lists *lists, struct error *error)
{
    struct text rest = {visitor_agents, EMBED_SIZE(visitor_agents)};

    for (int number = 1; rest.bytes; number++)
        if (!add_line(lists, text_cut(&rest, '\n'), error))
            return error_prefix(error, "agents.txt:%d", number);
    return true;
}

/* ---- all of them ----------------------------------------------------------------------------- */

struct lists *lists_open(const char *operator_path, struct error *error)
{
    struct lists *lists = calloc(1, sizeof *lists);

    assert(lists);
    lists->patterns = pattern_set_new();
    if (!add_agents(lists, error) || !add_crawlers(lists, error) ||
        !add_operator(lists, operator_path, error) ||
        !pattern_set_compile(lists->patterns, error)) {
        lists_close(lists);
        return NULL;
    }
    return lists;
}

void lists_close(struct lists *lists)
{
    if (!lists)
        return;
    pattern_set_free(lists->patterns);
    for (size_t i = 0; i < lists->count; i++)
        free((char *)(uintptr_t)lists->entries[i].rule);
    free(lists->entries);
    free(lists);
}

static_assert((int)LIST_GROUPS <= PATTERN_GROUPS_MAX, "each question is a group of patterns");

void lists_match(const struct lists *lists, struct text user_agent, struct list_hits *out)
{
    struct pattern_hits hits;

    pattern_set_match(lists->patterns, user_agent, &hits);
    for (int group = 0; group < LIST_GROUPS; group++)
        out->of[group] =
            hits.first[group] == PATTERN_NONE ? NULL : &lists->entries[hits.first[group]];
}
