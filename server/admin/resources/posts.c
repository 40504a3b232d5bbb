/* /v1/posts and /v1/post-metrics. See fields.h for how the tables below become SQL. */
#include "server/admin/resources/posts.h"

#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/named.h"
#include "server/admin/fields/resource.h"
#include "server/admin/resources/routing.h"

#define LINKS_MAX 100

static bool check_links(struct value *value, struct error *error)
{
    json_t *list = json_loads(value->text, 0, NULL);
    size_t count = json_array_size(list);
    bool good = json_is_array(list) && count <= LINKS_MAX;

    for (size_t i = 0; good && i < count; i++) {
        const json_t *id = json_array_get(list, i);

        good = json_is_integer(id) && json_integer_value(id) > 0;
        for (size_t j = 0; good && j < i; j++)
            good = json_integer_value(json_array_get(list, j)) != json_integer_value(id);
    }
    json_decref(list);
    return good ||
           error_set(error, "must be an array of at most %d different ids of links", LINKS_MAX);
}

static const struct field post_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the post"},
    {.name = "url",
     .flags = FIELD_WRITABLE | FIELD_REQUIRED | FIELD_FILTER,
     .check = routing_check_url,
     .column = "url",
     .what = "Where it is; unique in the workspace"},
    {.name = "platform",
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_FILTER,
     .longest = 64,
     .column = "platform",
     .value = "lower(@::text)",
     .filter = "t.platform = lower(@::text)",
     .what = "Name of the platform"},
    {.name = "campaign",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "campaign_id",
     .value = NAMED_CAMPAIGN,
     .what = "Campaign that it was made for: its id or slug"},
    {.name = "influencer",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "influencer_id",
     .value = NAMED_INFLUENCER,
     .what = "Who published it: their id or handle"},
    {.name = "title",
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .longest = 400,
     .column = "title",
     .what = "Name for people"},
    {.name = "published_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "published_at",
     .what = "When it was published"},
    {.name = "author_credit",
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .longest = 400,
     .column = "author_credit",
     .what = "Who is to be named where the content is used again"},
    {.name = "links",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE | FIELD_LOOKUP,
     .longest = 4096,
     .check = check_links,
     .column = "link_ids",
     .value = "(select case when count(*) = count(l.id) then"
              " coalesce(array_agg(l.id order by l.id), '{}') end"
              " from jsonb_array_elements_text(@::jsonb) e left join kudos.links l"
              " on l.workspace_id = $1::bigint and l.id = e::bigint)",
     .read = "to_json(t.link_ids)::text",
     .what = "Short links that it shows: their ids",
     .schema = "{\"type\": \"array\", \"items\": {\"type\": \"integer\"}}"},
    {.name = "status",
     .flags = FIELD_WRITABLE,
     .choices = "active removed archived",
     .column = "status",
     .value = "@::kudos.post_status",
     .missing = "'active'",
     .what = "active, removed (taken down) or archived"},
    EXTERNAL_ID("post"),
    TAGS,
    NOTES,
    CREATED_AND_UPDATED,
};

struct resource posts_resource = {
    .name = "post",
    .path = "/v1/posts",
    .table = "kudos.posts",
    .fields = post_fields,
    .count = sizeof post_fields / sizeof post_fields[0],
    .status = "status",
    .external = "external_id",
    .filters = {{"tag", "t.tags @> array[@::text]", "Only those that have this tag", FIELD_TEXT},
                {"link", "@::bigint = any (t.link_ids)", "Only those that show this link",
                 FIELD_INTEGER}},
    .uniques = {{"posts_workspace_id_url_key", "/url", "url-taken", "is entered already"},
                {"posts_external", "/external_id", "external-id-taken", "another post has it"}},
    .example = "{\"url\": \"https://www.instagram.com/p/1\", \"platform\": \"instagram\","
               " \"campaign\": \"spring-launch\", \"influencer\": \"anna\","
               " \"published_at\": \"2027-03-02T18:00:00Z\", \"author_credit\": \"@anna\"}",
    .example_change = "{\"title\": \"First look\"}",
};

#define COUNT(field, text)                                                              \
    {                                                                                   \
        .name = field, .type = FIELD_INTEGER, .flags = FIELD_WRITABLE | FIELD_NULLABLE, \
        .lowest = 0, .highest = INT64_MAX, .column = field, .what = text                \
    }

static const struct field metric_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the reading"},
    {.name = "post",
     .type = FIELD_REFERENCE,
     .flags = FIELD_CREATE | FIELD_REQUIRED | FIELD_LOOKUP | FIELD_FILTER,
     .longest = 4096,
     .column = "post_id",
     .value = NAMED("kudos.posts", "url = #::text"),
     .what = "The post: its id or URL"},
    {.name = "taken_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE,
     .column = "taken_at",
     .missing = "now()",
     .what = "When the numbers were read; now if absent"},
    {.name = "source",
     .flags = FIELD_WRITABLE | FIELD_FILTER,
     .longest = 64,
     .column = "source",
     .missing = "'manual'",
     .what = "Where they come from: manual, or the name of a tool"},
    COUNT("reach", "People who saw it"),
    COUNT("impressions", "How often it was shown"),
    COUNT("engagements", "All reactions together"),
    COUNT("likes", "Likes"),
    COUNT("comments", "Comments"),
    COUNT("saves", "How often it was saved"),
    COUNT("shares", "How often it was passed on"),
    {.name = "sentiment",
     .type = FIELD_NUMBER,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .lowest = -1,
     .highest = 1,
     .column = "sentiment",
     .what = "Mood of the reactions, -1 (bad) to 1 (good)"},
    EXTERNAL_ID("reading"),
    CREATED_AND_UPDATED,
};

struct resource post_metrics_resource = {
    .name = "post_metric",
    .path = "/v1/post-metrics",
    .table = "kudos.post_metrics",
    .fields = metric_fields,
    .count = sizeof metric_fields / sizeof metric_fields[0],
    .external = "external_id",
    .filters = {{"since", "t.taken_at >= @::timestamptz", "Only from this time on", FIELD_TIME},
                {"until", "t.taken_at < @::timestamptz", "Only before this time", FIELD_TIME}},
    .uniques = {{"post_metrics_once", "/taken_at", "reading-taken",
                 "there is a reading of this post, source and time"},
                {"post_metrics_external", "/external_id", "external-id-taken",
                 "another reading has it"}},
    .example = "{\"post\": \"https://www.instagram.com/p/1\", \"reach\": 48000,"
               " \"impressions\": 61000, \"engagements\": 3900, \"comments\": 210, \"saves\": 480,"
               " \"sentiment\": 0.62}",
    .example_change = "{\"reach\": 48100}",
};
