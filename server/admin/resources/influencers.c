/* /v1/influencers. See fields.h for how the table below becomes SQL, README.md for the API.
 *
 * Profiles are rows of a table of their own (one of them is shown where a link is previewed) and come
 * and go as one array: what a change does not list is deleted. */
#include "server/admin/resources/influencers.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/named.h"
#include "server/admin/request/input.h"
#include "server/links/destination.h"

#define PROFILES_MAX     50
#define PLATFORM_LONGEST 64
#define URL_LONGEST      2048

/* --- profiles --- */

/* A text member, or null; `longest` in bytes. */
static bool check_member(const json_t *profile, const char *name, size_t longest,
                         struct error *error)
{
    const json_t *member = json_object_get(profile, name);
    size_t length = json_string_length(member);

    if (!member || json_is_null(member))
        return true;
    if (!json_is_string(member) || length == 0 || length > longest ||
        input_has_control(json_string_value(member), length))
        return error_set(error, "%s must be a text of 1 to %zu bytes", name, longest);
    return true;
}

static bool check_names(const json_t *profile, struct error *error)
{
    static const char *const known[] = {"platform", "url", "handle", "followers", "external_id"};
    const char *name;
    json_t *member;

    json_object_foreach((json_t *)(uintptr_t)profile, name, member)
    {
        bool good = false;

        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            good = good || strcmp(known[i], name) == 0;
        if (!good)
            return error_set(error, "takes platform, url, handle, followers and external_id");
    }
    return json_is_object(profile) || error_set(error, "must be an object");
}

/* The platform in lower case, as it is stored. */
static bool put_platform(json_t *profile, json_t *to, struct error *error)
{
    const char *text = json_string_value(json_object_get(profile, "platform"));
    char lower[PLATFORM_LONGEST + 1];
    size_t length = text ? strlen(text) : 0;

    if (length == 0 || length > PLATFORM_LONGEST || input_has_control(text, length))
        return error_set(error, "platform must be a text of 1 to %d bytes", PLATFORM_LONGEST);
    for (size_t i = 0; i <= length; i++)
        lower[i] =
            (char)((unsigned char)text[i] < 0x80 ? tolower((unsigned char)text[i]) : text[i]);
    return json_object_set_new(to, "platform", json_string(lower)) == 0 ||
           error_set(error, "cannot be read: out of memory");
}

static bool put_url(json_t *profile, json_t *to, struct error *error)
{
    static struct destination parsed; /* large; one thread */
    const char *text = json_string_value(json_object_get(profile, "url"));

    if (!text || strlen(text) > URL_LONGEST)
        return error_set(error, "url must be a URL of at most %d bytes", URL_LONGEST);
    if (!destination_parse(text, strlen(text), &parsed, error))
        return false;
    return json_object_set_new(to, "url", json_string(parsed.url)) == 0 ||
           error_set(error, "cannot be read: out of memory");
}

/* A profile with all its members, as it is stored. */
static json_t *read_profile(json_t *profile, struct error *error)
{
    json_t *to = json_object(), *followers = json_object_get(profile, "followers");
    bool good = check_names(profile, error) && put_platform(profile, to, error) &&
                put_url(profile, to, error) && check_member(profile, "handle", 200, error) &&
                check_member(profile, "external_id", NAMED_LONGEST, error);

    if (good && followers && !json_is_null(followers) &&
        (!json_is_integer(followers) || json_integer_value(followers) < 0))
        good = error_set(error, "followers must be a whole number");
    if (!good) {
        json_decref(to);
        return NULL;
    }
    for (int i = 0; i < 3; i++) {
        const char *name = (const char *[]){"handle", "followers", "external_id"}[i];
        json_t *member = json_object_get(profile, name);

        json_object_set(to, name, member ? member : json_null());
    }
    return to;
}

static int compare(const json_t *a, const json_t *b)
{
    int order = strcmp(json_string_value(json_object_get(a, "platform")),
                       json_string_value(json_object_get(b, "platform")));

    return order ? order
                 : strcmp(json_string_value(json_object_get(a, "url")),
                          json_string_value(json_object_get(b, "url")));
}

/* Puts it where it belongs: in the order in which they are read back. */
static bool insert_profile(json_t *list, json_t *profile, struct error *error)
{
    size_t at = 0;

    while (at < json_array_size(list) && compare(json_array_get(list, at), profile) < 0)
        at++;
    if (at < json_array_size(list) && compare(json_array_get(list, at), profile) == 0) {
        json_decref(profile);
        return error_set(error, "is there twice");
    }
    return json_array_insert_new(list, at, profile) == 0 ||
           error_set(error, "cannot be read: out of memory");
}

static bool check_profiles(struct value *value, struct error *error)
{
    json_t *given = json_loads(value->text, 0, NULL), *list = json_array(), *profile;
    bool good = json_is_array(given) && json_array_size(given) <= PROFILES_MAX;
    char index[24];
    size_t i;

    if (!good)
        error_set(error, "must be an array of at most %d profiles", PROFILES_MAX);
    for (i = 0; good && i < json_array_size(given); i++) {
        profile = read_profile(json_array_get(given, i), error);
        good = profile && insert_profile(list, profile, error);
        if (!good) {
            snprintf(index, sizeof index, "%zu", i);
            value_at(value, index);
        }
    }
    if (good) {
        free(value->text);
        value->text = json_dumps(list, JSON_COMPACT);
        good = value->text || error_set(error, "cannot be read: out of memory");
    }
    json_decref(given);
    json_decref(list);
    return good;
}

#define PROFILE_COLUMNS "platform, url, handle, followers, external_id"
#define PROFILE_RECORD                                                                    \
    "jsonb_to_recordset(@) as e (platform text, url text, handle text, followers bigint," \
    " external_id text)"

/* --- the table --- */

static bool check_country(struct value *value, struct error *error)
{
    return (strlen(value->text) == 2 && isupper((unsigned char)value->text[0]) &&
            isupper((unsigned char)value->text[1])) ||
           error_set(error, "must be a country (ISO 3166-1 alpha-2) such as \"DE\"");
}

/* No more than that somebody could be meant: one @ with something on either side. */
static bool check_email(struct value *value, struct error *error)
{
    const char *at = strchr(value->text, '@');

    return (at && at > value->text && at[1] && !strchr(at + 1, '@') &&
            !strpbrk(value->text, " \t<>,;") &&
            !input_has_control(value->text, strlen(value->text))) ||
           error_set(error, "must be an email address");
}

static const struct field influencer_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the influencer"},
    {.name = "handle",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_REQUIRED | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "handle",
     .filter = "lower(t.handle) = lower(@::text)",
     .what = "Name they are known by; unique in the workspace whatever the case"},
    {.name = "name",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE,
     .longest = 400,
     .column = "name",
     .missing = "''",
     .what = "Name in full"},
    {.name = "email",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_FILTER,
     .longest = 320,
     .check = check_email,
     .column = "email",
     .filter = "lower(t.email) = lower(@::text)",
     .what = "Where to reach them"},
    {.name = "contact",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LINES,
     .longest = 1000,
     .column = "contact",
     .what = "Other ways to reach them: a phone number, an agent"},
    {.name = "country",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_FILTER,
     .check = check_country,
     .column = "country",
     .what = "Where they live (ISO 3166-1 alpha-2)"},
    {.name = "profiles",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE,
     .longest = 65536,
     .check = check_profiles,
     .read = "(select coalesce(jsonb_agg(jsonb_build_object('platform', p.platform, 'url', p.url,"
             " 'handle', p.handle, 'followers', p.followers, 'external_id', p.external_id)"
             " order by p.platform collate \"C\", p.url collate \"C\"), '[]')::text"
             " from kudos.influencer_profiles p where p.influencer_id = t.id)",
     .drop_children = "delete from kudos.influencer_profiles p using w"
                      " where p.influencer_id = w.\"id\"::bigint and @ is not null"
                      " and not exists (select from " PROFILE_RECORD
                      " where e.platform = p.platform and e.url = p.url)",
     .put_children =
         "insert into kudos.influencer_profiles as p (workspace_id, influencer_id, " PROFILE_COLUMNS
         ") select $1::bigint, w.\"id\"::bigint, e.platform, e.url, e.handle, e.followers,"
         " e.external_id from w, " PROFILE_RECORD
         " on conflict (influencer_id, platform, url) do update set handle = excluded.handle,"
         " followers = excluded.followers, external_id = excluded.external_id",
     .what = "Where they publish; a change replaces all of them",
     .schema = "{\"type\": \"array\", \"items\": {\"$ref\": \"#/components/schemas/Profile\"}}"},
    {.name = "status",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE,
     .choices = "active paused archived",
     .column = "status",
     .value = "@::kudos.influencer_status",
     .missing = "'active'",
     .what = "active, paused or archived"},
    EXTERNAL_ID("influencer"),
    TAGS,
    NOTES,
    CREATED_AND_UPDATED,
};

struct resource influencers_resource = {
    .name = "influencer",
    .path = "/v1/influencers",
    .table = "kudos.influencers",
    .fields = influencer_fields,
    .count = sizeof influencer_fields / sizeof influencer_fields[0],
    .status = "status",
    .external = "external_id",
    .filters = {FILTER_TAG,
                {.parameter = "platform",
                 .sql =
                     "exists (select from kudos.influencer_profiles p where p.influencer_id = t.id"
                     " and p.platform = lower(@::text))",
                 .what = "Only those who have a profile there"}},
    .uniques = {{"influencers_handle", "/handle", "handle-taken",
                 "is taken in this workspace (archived influencers keep their handles)"},
                {"influencers_external", "/external_id", "external-id-taken",
                 "another influencer has it"}},
    .example = "{\"handle\": \"anna\", \"name\": \"Anna Berg\", \"country\": \"DE\","
               " \"tags\": [\"running\"], \"profiles\": [{\"platform\": \"instagram\","
               " \"url\": \"https://www.instagram.com/anna\", \"followers\": 120000}]}",
    .example_change = "{\"email\": \"anna@example.com\"}",
};
