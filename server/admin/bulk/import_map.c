/* See import_map.h. The maps are made of what the services' own exports, and where a service has none,
 * its database or API, call things:
 *
 *   bitly    CSV of the links page: Link, Custom Link, Destination URL, Title, …
 *   yourls   the columns of its table: keyword, url, title, timestamp, clicks
 *   kutt     members of its API: link, address, target, description, created_at, visit_count
 *   shlink   CSV of its web client: createdAt, shortUrl, shortCode, longUrl, title, tags, visits
 *   dub      CSV of its dashboard: link, url, title, tags, createdAt, clicks */
#include "server/admin/bulk/import_map.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/request/input.h"
#include "shared/text.h"

static const struct import_map maps[] = {
    {"columns", {{"slug"}, {"destination"}, {"title"}, {"tags"}, {"created_at"}, {"clicks"}}},
    {"bitly",
     {{"custom link", "custom bitlink", "bitlink", "short link", "link"},
      {"destination url", "long url", "original url", "destination"},
      {"title", "link title"},
      {"tags"},
      {"date created", "created", "created at", "creation date", "created date"},
      {"total engagements", "engagements", "total clicks", "lifetime clicks", "clicks"}}},
    {"yourls",
     {{"keyword", "short url", "shorturl"},
      {"url", "long url"},
      {"title"},
      {NULL},
      {"timestamp", "date"},
      {"clicks"}}},
    {"kutt",
     {{"address", "link", "short url"},
      {"target", "original url"},
      {"description"},
      {NULL},
      {"created at"},
      {"visit count", "visits"}}},
    {"shlink",
     {{"short code", "short url"},
      {"long url"},
      {"title"},
      {"tags"},
      {"created at", "date created"},
      {"visits", "visits count"}}},
    {"dub",
     {{"key", "short link", "link"},
      {"url", "destination url"},
      {"title"},
      {"tags"},
      {"created at"},
      {"clicks"}}},
};

const struct import_map *import_map_find(const char *source)
{
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        if (strcmp(maps[i].source, source) == 0)
            return &maps[i];
    }
    return NULL;
}

const char *import_part_name(enum import_part part)
{
    static const char *const names[IMPORT_PARTS] = {"slug", "destination", "title",
                                                    "tags", "created_at",  "clicks"};

    return names[part];
}

/* --- columns --- */

static bool is_between(char c)
{
    return c == ' ' || c == '_' || c == '-' || c == '.';
}

static bool same_column(const char *a, const char *b)
{
    for (;;) {
        while (is_between(*a))
            a++;
        while (is_between(*b))
            b++;
        if (ascii_lower(*a) != ascii_lower(*b))
            return false;
        if (!*a)
            return true;
        a++;
        b++;
    }
}

/* The text of a member; a number as digits, in `digits`. NULL if it is neither, or empty. */
static const char *text_of(const json_t *value, char digits[32])
{
    if (json_is_integer(value)) {
        snprintf(digits, 32, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return digits;
    }
    return json_string_length(value) > 0 ? json_string_value(value) : NULL;
}

static const char *find_text(const struct import_map *map, const json_t *row, enum import_part part,
                             char digits[32])
{
    for (size_t i = 0; i < IMPORT_COLUMNS_MAX && map->columns[part][i]; i++) {
        const char *name;
        json_t *value;

        json_object_foreach((json_t *)(uintptr_t)row, name, value)
        {
            const char *text =
                same_column(name, map->columns[part][i]) ? text_of(value, digits) : NULL;

            if (text)
                return text;
        }
    }
    return NULL;
}

/* --- values --- */

/* "https://bit.ly/3xYz", "bit.ly/3xYz" or "3xYz": all of the path, so that a name with a slash in it,
 * which cannot be one here, is refused and not cut. */
static json_t *slug_of(const char *text)
{
    const char *scheme = strstr(text, "://"), *slash;
    size_t length;

    if (scheme)
        text = scheme + strlen("://");
    slash = strchr(text, '/');
    if (slash && (scheme || memchr(text, '.', (size_t)(slash - text))))
        text = slash + 1;
    length = strcspn(text, "?#");
    while (length > 0 && text[length - 1] == '/')
        length--;
    return json_stringn(text, length);
}

static json_t *tags_of(const char *text)
{
    json_t *tags = json_array();

    while (*text) {
        size_t length = strcspn(text, ",|");
        struct text word = text_trim((struct text){text, length});

        if (word.length > 0)
            json_array_append_new(tags, json_stringn(word.bytes, word.length));
        text += length + (text[length] != '\0');
    }
    return tags;
}

/* Puts the pieces of a time together as RFC 3339 wants them. */
static bool read_time(const char *text, int64_t *us)
{
    char whole[64];
    size_t length = strlen(text), zone;

    if (strspn(text, "0123456789") == length && length >= 9 && length <= 11) {
        *us = strtoll(text, NULL, 10) * 1000000;
        return true;
    }
    if (length < 10 || length > 40)
        return false;
    if (length == 10) {
        snprintf(whole, sizeof whole, "%sT00:00:00Z", text);
        return input_to_time(whole, us);
    }
    snprintf(whole, sizeof whole, "%s", text);
    if (whole[10] == ' ')
        whole[10] = 'T';
    zone = strcspn(whole + 10, "Zz+-") + 10;
    if (!whole[zone])
        snprintf(whole + zone, sizeof whole - zone, "Z");
    else if (strlen(whole + zone) == 5 && !strchr(whole + zone, ':')) /* +0100 */
        snprintf(whole + zone + 3, sizeof whole - zone - 3, ":%s", text + zone + 3);
    return input_to_time(whole, us);
}

static bool read_clicks(const char *text, int64_t *clicks)
{
    size_t length = strlen(text);

    if (length == 0 || length > 15 || strspn(text, "0123456789") != length)
        return false;
    *clicks = strtoll(text, NULL, 10);
    return true;
}

bool import_map_row(const struct import_map *map, const json_t *row, struct import_row *out,
                    enum import_part *part, struct error *error)
{
    char digits[32];
    const char *text;

    *out = (struct import_row){.link = json_object(), .clicks = -1};
    if ((text = find_text(map, row, IMPORT_SLUG, digits)))
        json_object_set_new(out->link, "slug", slug_of(text));
    if ((text = find_text(map, row, IMPORT_DESTINATION, digits)))
        json_object_set_new(out->link, "destination", json_string(text));
    if ((text = find_text(map, row, IMPORT_TITLE, digits)))
        json_object_set_new(out->link, "title", json_string(text));
    if ((text = find_text(map, row, IMPORT_TAGS, digits)))
        json_object_set_new(out->link, "tags", tags_of(text));
    *part = IMPORT_SLUG;
    if (!json_object_get(out->link, "slug"))
        return error_set(error, "is required: what is imported keeps its name");
    *part = IMPORT_CREATED;
    text = find_text(map, row, IMPORT_CREATED, digits);
    if (text && !read_time(text, &out->created_us))
        return error_set(error, "must be a time such as 2026-11-21T20:00:00Z");
    *part = IMPORT_CLICKS;
    text = find_text(map, row, IMPORT_CLICKS, digits);
    if (text && !read_clicks(text, &out->clicks))
        return error_set(error, "must be a whole number");
    return true;
}
