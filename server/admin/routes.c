/* See routes.h. */
#include "server/admin/routes.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "server/admin/bulk/bulk.h"
#include "server/admin/bulk/roster.h"
#include "server/admin/fields/list.h"
#include "server/admin/fields/resource.h"
#include "server/admin/openapi.h"
#include "server/admin/reports/export.h"
#include "server/admin/reports/qr.h"
#include "server/admin/reports/report.h"
#include "server/admin/reports/search.h"
#include "server/admin/reports/stats.h"
#include "server/admin/request/input.h"
#include "server/admin/resources/api_keys.h"
#include "server/admin/resources/audit.h"
#include "server/admin/resources/campaigns.h"
#include "server/admin/resources/codes.h"
#include "server/admin/resources/contracts.h"
#include "server/admin/resources/conversions.h"
#include "server/admin/resources/domains.h"
#include "server/admin/resources/erasures.h"
#include "server/admin/resources/influencers.h"
#include "server/admin/resources/links.h"
#include "server/admin/resources/posts.h"
#include "server/admin/resources/sources.h"
#include "server/admin/resources/statements.h"
#include "server/admin/resources/workspaces.h"

#define GET    EVHTTP_REQ_GET
#define POST   EVHTTP_REQ_POST
#define PATCH  EVHTTP_REQ_PATCH
#define DELETE EVHTTP_REQ_DELETE

/* The five routes of a resource; `change` is the scope that may write. */
#define RESOURCE(path, a, one, many, change, thing)                                           \
    {POST,                                                                                    \
     path,                                                                                    \
     change,                                                                                  \
     ROUTE_BODY | ROUTE_GUARDED | ROUTE_CREATED,                                              \
     resource_on_create,                                                                      \
     "Make " a " " one,                                                                       \
     thing,                                                                                   \
     NULL,                                                                                    \
     NULL},                                                                                   \
        {GET,   path, SCOPE_READ, ROUTE_LIST | ROUTE_GUARDED, resource_on_list, "List " many, \
         thing, NULL, NULL},                                                                  \
        {GET,   path "/{id}", SCOPE_READ, ROUTE_GUARDED, resource_on_get, "Read " a " " one,  \
         thing, NULL,         NULL},                                                          \
    {                                                                                         \
        PATCH, path "/{id}", change, ROUTE_BODY | ROUTE_GUARDED, resource_on_update,          \
            "Change " a " " one, thing, NULL, NULL                                            \
    }
#define ARCHIVE(path, a, one, change, thing)                                  \
    {                                                                         \
        DELETE, path "/{id}", change, ROUTE_GUARDED, resource_on_archive,     \
            "Archive " a " " one "; what it brought stays", thing, NULL, NULL \
    }

/* A list as a file, with the list's filters. */
#define EXPORT(path, many, change, thing)                                                         \
    {GET, path ".csv", change, 0, export_on_list, "Export " many " as CSV", thing, NULL, NULL},   \
    {                                                                                             \
        GET, path ".ndjson", change, 0, export_on_list, "Export " many " as NDJSON", thing, NULL, \
            NULL                                                                                  \
    }
#define QR_LOOK                                                                                    \
    "size: pixels (512)\nmargin: modules around it (4)\nlevel: of error correction: L, M, Q or H " \
    "(M)"                                                                                          \
    "\ncolour: of what is dark (000000)\nbackground: a colour, or transparent (ffffff)"
#define IMPORT_COLUMNS                                                                             \
    "source: bitly, yourls, kutt, shlink, dub, or columns\ndomain: where the links go\n"           \
    "campaign: what they count for\nslug: name of that column\ndestination: name of that column\n" \
    "title: name of that column\ntags: name of that column\ncreated_at: name of that column\n"     \
    "clicks: name of that column\n" DRY_RUN
#define DRY_RUN "dry_run: true: answer what would be done, and do nothing"

/* clang-format off */
static const struct route routes[] = {
    {GET, "/v1/openapi.json", SCOPE_NONE, ROUTE_OPEN, openapi_on_get,
     "This description of the API", NULL, NULL, NULL},
    RESOURCE("/v1/domains", "a", "domain", "domains", SCOPE_ADMIN, &domains_resource),
    RESOURCE("/v1/campaigns", "a", "campaign", "campaigns", SCOPE_WRITE, &campaigns_resource),
    ARCHIVE("/v1/campaigns", "a", "campaign", SCOPE_WRITE, &campaigns_resource),
    {GET, "/v1/campaigns/{id}/changes", SCOPE_READ, ROUTE_LIST | ROUTE_GUARDED,
     campaigns_on_changes, "Who changed a campaign, when, from what to what", &audit_resource, NULL,
     NULL},
    RESOURCE("/v1/influencers", "an", "influencer", "influencers", SCOPE_WRITE, &influencers_resource),
    ARCHIVE("/v1/influencers", "an", "influencer", SCOPE_WRITE, &influencers_resource),
    {GET, "/v1/influencers/{id}/statement", SCOPE_READ, ROUTE_GUARDED, statements_on_get,
     "What an influencer has earned in a period, line by line, and what of it is held, due and paid",
     NULL,
     "from: first day\nuntil: only before this day\ncampaign: slug or id of one\n"
     "format: json or csv",
     "?from=2027-03-01&until=2027-04-01"},
    RESOURCE("/v1/codes", "a", "code", "codes", SCOPE_WRITE, &codes_resource),
    ARCHIVE("/v1/codes", "a", "code", SCOPE_WRITE, &codes_resource),
    RESOURCE("/v1/links", "a", "link", "links", SCOPE_WRITE, &links_resource),
    ARCHIVE("/v1/links", "a", "link", SCOPE_WRITE, &links_resource),
    {GET, "/v1/links/{id}/stats", SCOPE_READ, ROUTE_STORE_AWAY, stats_on_link,
     "Clicks of a link, live and stored", NULL, NULL, NULL},
    {GET, "/v1/links/{id}/qr.svg", SCOPE_READ, 0, qr_on_svg, "QR code of a link, as SVG", NULL,
     QR_LOOK, "?margin=2&level=H&colour=1a2b3c"},
    {GET, "/v1/links/{id}/qr.png", SCOPE_READ, 0, qr_on_png, "QR code of a link, as PNG", NULL,
     QR_LOOK, "?size=256&background=transparent"},
    EXPORT("/v1/links", "links", SCOPE_READ, &links_resource),
    EXPORT("/v1/codes", "codes", SCOPE_READ, &codes_resource),
    EXPORT("/v1/influencers", "influencers", SCOPE_READ, &influencers_resource),
    EXPORT("/v1/campaigns", "campaigns", SCOPE_READ, &campaigns_resource),
    EXPORT("/v1/domains", "domains", SCOPE_READ, &domains_resource),
    EXPORT("/v1/posts", "posts", SCOPE_READ, &posts_resource),
    EXPORT("/v1/post-metrics", "readings of posts", SCOPE_READ, &post_metrics_resource),
    EXPORT("/v1/contracts", "contracts", SCOPE_READ, &contracts_resource),
    EXPORT("/v1/payouts", "payouts", SCOPE_READ, &payouts_resource),
    EXPORT("/v1/audit-log", "who changed what", SCOPE_ADMIN, &audit_resource),
    {GET, "/v1/campaigns/{id}/codes/shopify.csv", SCOPE_READ, 0, export_on_shopify,
     "Codes of a campaign, to import into Shopify", NULL, NULL, NULL},
    {GET, "/v1/campaigns/{id}/codes/woocommerce.csv", SCOPE_READ, 0, export_on_woocommerce,
     "Codes of a campaign, to import into WooCommerce", NULL, NULL, NULL},
    {GET, "/v1/campaigns/{id}/qr.csv", SCOPE_READ, 0, export_on_qr,
     "Where the QR codes of a campaign's links are", NULL, NULL, NULL},
    {POST, "/v1/links/bulk/create", SCOPE_WRITE, ROUTE_ROWS, bulk_on_create, "Make many links",
     NULL, DRY_RUN, "[{\"destination\": \"https://example.com/\"}]"},
    {POST, "/v1/links/bulk/update", SCOPE_WRITE, ROUTE_ROWS, bulk_on_update, "Change many links",
     NULL, DRY_RUN, "[{\"slug\": \"spring-anna\", \"title\": \"Anna\"}]"},
    {POST, "/v1/links/bulk/archive", SCOPE_WRITE, ROUTE_ROWS, bulk_on_archive, "Archive many links",
     NULL, DRY_RUN, "[{\"id\": 17}]"},
    {POST, "/v1/posts/bulk/create", SCOPE_WRITE, ROUTE_ROWS, bulk_on_posts, "Enter many posts", NULL,
     DRY_RUN, "[]"},
    {POST, "/v1/post-metrics/bulk/create", SCOPE_WRITE, ROUTE_ROWS, bulk_on_post_metrics,
     "Enter what many posts have reached", NULL, DRY_RUN, "[]"},
    {POST, "/v1/links/import", SCOPE_WRITE, ROUTE_ROWS, bulk_on_import,
     "Import links from another service, with their names, dates and clicks", NULL, IMPORT_COLUMNS,
     "[]"},
    {POST, "/v1/campaigns/{id}/roster", SCOPE_WRITE, ROUTE_ROWS, roster_on_post,
     "Give each of many influencers a link and a code", NULL, DRY_RUN,
     "{\"influencers\": [{\"handle\": \"anna\", \"name\": \"Anna\"}],"
     " \"code\": {\"template\": \"{HANDLE}{PERCENT}\", \"percent\": 20}}"},
    RESOURCE("/v1/posts", "a", "post", "posts", SCOPE_WRITE, &posts_resource),
    ARCHIVE("/v1/posts", "a", "post", SCOPE_WRITE, &posts_resource),
    RESOURCE("/v1/post-metrics", "a", "reading of a post", "readings of posts", SCOPE_WRITE,
             &post_metrics_resource),
    RESOURCE("/v1/contracts", "a", "contract", "contracts", SCOPE_WRITE, &contracts_resource),
    ARCHIVE("/v1/contracts", "a", "contract", SCOPE_WRITE, &contracts_resource),
    RESOURCE("/v1/payouts", "a", "payout", "payouts", SCOPE_WRITE, &payouts_resource),
    ARCHIVE("/v1/payouts", "a", "payout", SCOPE_WRITE, &payouts_resource),
    {GET, "/v1/reports", SCOPE_READ, ROUTE_GUARDED, reports_on_list,
     "List reports, with what their columns mean", NULL, NULL, NULL},
    {GET, "/v1/reports/{view}", SCOPE_READ, ROUTE_GUARDED, reports_on_get,
     "Read a report: a view of schema report; any column is a filter", NULL,
     "from: only from this time or day on\nuntil: only before this time or day\n"
     "group: columns to group by, separated by commas; of a time also time:day\n"
     "sort: columns, separated by commas; -clicks: downwards\n"
     "limit: how many rows at most (100, up to 10000)\ncursor: next_cursor of the page before\n"
     "format: json or csv", "?limit=10"},
    {GET, "/v1/search", SCOPE_READ, ROUTE_GUARDED, search_on_get,
     "Find by handle, name, slug, code or tag", NULL,
     "q: a piece of it\nlimit: how many at most (20)", "?q=anna"},
    {POST, "/v1/workspaces", SCOPE_ADMIN, ROUTE_BODY | ROUTE_GUARDED | ROUTE_CREATED,
     workspaces_on_create, "Make a workspace", &workspaces_resource, NULL, NULL},
    {GET, "/v1/workspaces", SCOPE_READ, ROUTE_LIST | ROUTE_GUARDED, resource_on_list,
     "List workspaces: your own; all with a key of the service's own", &workspaces_resource, NULL,
     NULL},
    {GET, "/v1/workspaces/{id}", SCOPE_READ, ROUTE_GUARDED, resource_on_get, "Read a workspace",
     &workspaces_resource, NULL, NULL},
    {PATCH, "/v1/workspaces/{id}", SCOPE_ADMIN, ROUTE_BODY | ROUTE_GUARDED, resource_on_update,
     "Change a workspace", &workspaces_resource, NULL, NULL},
    {POST, "/v1/api-keys", SCOPE_ADMIN, ROUTE_BODY | ROUTE_GUARDED | ROUTE_CREATED,
     resource_on_create, "Make an API key; it is shown this once", &api_keys_resource, NULL, NULL},
    {GET, "/v1/api-keys", SCOPE_ADMIN, ROUTE_LIST | ROUTE_GUARDED, resource_on_list,
     "List API keys", &api_keys_resource, NULL, NULL},
    {GET, "/v1/api-keys/{id}", SCOPE_ADMIN, ROUTE_GUARDED, resource_on_get, "Read about an API key",
     &api_keys_resource, NULL, NULL},
    {PATCH, "/v1/api-keys/{id}", SCOPE_ADMIN, ROUTE_BODY | ROUTE_GUARDED, resource_on_update,
     "Change an API key's name, limit or end", &api_keys_resource, NULL, NULL},
    {POST, "/v1/api-keys/{id}/rotate", SCOPE_ADMIN, ROUTE_BODY | ROUTE_GUARDED | ROUTE_CREATED,
     api_keys_on_rotate, "Replace an API key; the old one ends at once, or after overlap_s",
     &api_keys_resource, NULL, "{\"overlap_s\": 3600}"},
    {DELETE, "/v1/api-keys/{id}", SCOPE_ADMIN, ROUTE_GUARDED, api_keys_on_revoke,
     "Revoke an API key, at once", &api_keys_resource, NULL, NULL},
    {POST, "/v1/sources", SCOPE_ADMIN, ROUTE_BODY | ROUTE_GUARDED | ROUTE_CREATED,
     resource_on_create, "Make a source of conversions; its token is shown this once",
     &sources_resource, NULL, NULL},
    {GET, "/v1/sources", SCOPE_ADMIN, ROUTE_LIST | ROUTE_GUARDED, resource_on_list,
     "List sources of conversions", &sources_resource, NULL, NULL},
    {GET, "/v1/sources/{id}", SCOPE_ADMIN, ROUTE_GUARDED, resource_on_get, "Read about a source",
     &sources_resource, NULL, NULL},
    {PATCH, "/v1/sources/{id}", SCOPE_ADMIN, ROUTE_BODY | ROUTE_GUARDED, resource_on_update,
     "Change a source's name or secrets", &sources_resource, NULL, NULL},
    {POST, "/v1/sources/{id}/rotate", SCOPE_ADMIN, ROUTE_BODY | ROUTE_GUARDED, sources_on_rotate,
     "Replace a source's token or secrets; what was before ends at once, or after overlap_s",
     &sources_resource, NULL, "{\"overlap_s\": 3600}"},
    {DELETE, "/v1/sources/{id}", SCOPE_ADMIN, ROUTE_GUARDED, sources_on_revoke,
     "Revoke a source, at once", &sources_resource, NULL, NULL},
    {POST, "/v1/erasures", SCOPE_ADMIN, ROUTE_BODY | ROUTE_GUARDED | ROUTE_CREATED,
     resource_on_create, "Erase a customer reference or an influencer's contact data",
     &erasures_resource, NULL, NULL},
    {GET, "/v1/erasures", SCOPE_ADMIN, ROUTE_LIST | ROUTE_GUARDED, resource_on_list,
     "List erasures", &erasures_resource, NULL, NULL},
    {GET, "/v1/erasures/{id}", SCOPE_ADMIN, ROUTE_GUARDED, resource_on_get, "Read an erasure",
     &erasures_resource, NULL, NULL},
    {GET, "/v1/audit-log", SCOPE_ADMIN, ROUTE_LIST | ROUTE_GUARDED, resource_on_list,
     "Who changed what", &audit_resource, NULL, NULL},
    {POST, "/v1/conversions", SCOPE_CONVERSIONS, ROUTE_ROWS, conversions_on_post,
     "Report a conversion (an object; 201 if it is new) or many (rows)", NULL, NULL,
     "[" CONVERSIONS_EXAMPLE "]"},
    {GET, "/v1/conversions", SCOPE_READ, ROUTE_LIST | ROUTE_GUARDED, resource_on_list,
     "List conversions", &conversions_resource, NULL, NULL},
    {GET, "/v1/conversions/{id}", SCOPE_READ, ROUTE_GUARDED, resource_on_get,
     "Read a conversion", &conversions_resource, NULL, NULL},
    {GET, "/v1/conversions/{id}/why", SCOPE_READ, ROUTE_GUARDED, conversions_on_why,
     "Who is credited with a conversion, who is not, and why", NULL, NULL, NULL},
};
/* clang-format on */
#define ROUTE_COUNT (sizeof routes / sizeof routes[0])

const struct route *routes_all(size_t *count)
{
    *count = ROUTE_COUNT;
    return routes;
}

bool routes_prepare(struct error *error)
{
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (routes[i].resource && !resource_prepare(routes[i].resource, error))
            return false;
    }
    return api_keys_prepare(error) && sources_prepare(error);
}

static const char *method_name(enum evhttp_cmd_type method)
{
    switch (method) {
    case EVHTTP_REQ_GET: return "GET, HEAD";
    case EVHTTP_REQ_POST: return "POST";
    case EVHTTP_REQ_PATCH: return "PATCH";
    case EVHTTP_REQ_DELETE: return "DELETE";
    default: return "PUT";
    }
}

/* True if the text has the shape of what `pattern` ("{id}…") begins with; it is kept. */
static bool word_fits(const char *pattern, const char *text, size_t length, uint64_t *id,
                      char name[REQUEST_NAME_MAX])
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    if (length == 0 || length >= REQUEST_NAME_MAX || strspn(text, letters) < length)
        return false;
    memcpy(name, text, length);
    name[length] = '\0';
    return strncmp(pattern, "{id}", 4) != 0 || input_to_id(name, id);
}

/* True if `path` has the shape of `pattern`; reads what stands in its braces. */
static bool path_fits(const char *pattern, const char *path, uint64_t *id,
                      char name[REQUEST_NAME_MAX])
{
    size_t length;

    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        length = strcspn(path, "/");
        if (!word_fits(pattern, path, length, id, name))
            return false;
        path += length;
        pattern = strchr(pattern, '}') + 1;
    }
    return *path == '\0';
}

enum route_match route_find(enum evhttp_cmd_type method, const char *path,
                            const struct route **route, uint64_t *id, char name[REQUEST_NAME_MAX],
                            char allow[64])
{
    size_t used = 0;

    if (method == EVHTTP_REQ_HEAD)
        method = EVHTTP_REQ_GET;
    allow[0] = '\0';
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!path_fits(routes[i].path, path, id, name))
            continue;
        if (routes[i].method == method) {
            *route = &routes[i];
            return ROUTE_FOUND;
        }
        used += (size_t)snprintf(allow + used, 64 - used, "%s%s", used ? ", " : "",
                                 method_name(routes[i].method));
        assert(used < 64);
    }
    return used ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}
