/* See qr.h. */
#include "server/admin/reports/qr.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/set_sql.h"
#include "server/admin/reports/qr_image.h"
#include "server/admin/request/input.h"
#include "server/admin/request/stream.h"
#include "server/admin/resources/links.h"
#include "server/admin/server.h"

#define QR_SIZE_DEFAULT   512
#define QR_MARGIN_DEFAULT 4

/* Owned by the request. */
struct qr {
    struct qr_look look;
    bool png;
};

/* $1 workspace, $2 id */
static const struct statement find = {
    .sql = "select t.slug, " SET_LINK_HOST " as host from kudos.links t"
           " where t.workspace_id = $1::bigint and t.id = $2::bigint"};

static bool read_number(struct request *request, const char *name, uint64_t highest, unsigned *out)
{
    const char *text = query_get(&request->query, name);
    uint64_t number = 0;

    if (!text)
        return true;
    if ((strcmp(text, "0") != 0 && !input_to_id(text, &number)) || number > highest) {
        request_bad_parameter(request, name, "must be a number up to %" PRIu64, highest);
        return false;
    }
    *out = (unsigned)number;
    return true;
}

/* "1a2b3c", with or without "#". */
static void read_colour(struct request *request, const char *name, uint32_t *out, bool *transparent)
{
    const char *text = query_get(&request->query, name);

    if (!text)
        return;
    if (transparent && strcmp(text, "transparent") == 0) {
        *transparent = true;
        return;
    }
    text += *text == '#';
    if (strlen(text) != 6 || strspn(text, "0123456789abcdefABCDEF") != 6)
        request_bad_parameter(request, name, "must be a colour such as 1a2b3c%s",
                              transparent ? ", or transparent" : "");
    else
        *out = (uint32_t)strtoul(text, NULL, 16);
}

static void read_level(struct request *request, enum qr_level *level)
{
    static const char names[] = "LMQH";
    const char *text = query_get(&request->query, "level"), *at;

    if (!text)
        return;
    at = *text ? strchr(names, *text) : NULL;
    if (!at || text[1])
        request_bad_parameter(request, "level", "must be L, M, Q or H");
    else
        *level = (enum qr_level)(at - names);
}

static void read_look(struct request *request, struct qr_look *look)
{
    static const char *const known[] = {"size", "margin", "level", "colour", "background"};

    *look = (struct qr_look){.size = QR_SIZE_DEFAULT,
                             .margin = QR_MARGIN_DEFAULT,
                             .level = QR_LEVEL_M,
                             .background = 0xffffff};
    for (size_t i = 0; i < request->query.count; i++) {
        bool good = false;

        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            good = good || strcmp(known[k], request->query.names[i]) == 0;
        if (!good)
            request_bad_parameter(request, request->query.names[i], "there is no such parameter");
    }
    read_number(request, "size", QR_SIZE_MAX, &look->size);
    read_number(request, "margin", QR_MARGIN_MAX, &look->margin);
    read_level(request, &look->level);
    read_colour(request, "colour", &look->colour, NULL);
    read_colour(request, "background", &look->background, &look->transparent);
}

static void on_found(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    const struct qr *qr = request->state;
    struct evbuffer *picture;
    char url[LINKS_URL_MAX];
    struct error error;

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
        return;
    }
    if (PQntuples(answer->result) == 0) {
        request_problem(request, 404, "not-found", "there is no such link");
        return;
    }
    links_short_url(request->admin, PQgetvalue(answer->result, 0, 1),
                    PQgetvalue(answer->result, 0, 0), url);
    picture = evbuffer_new();
    assert(picture);
    if (qr->png ? qr_image_png(url, &qr->look, picture, &error)
                : qr_image_svg(url, &qr->look, picture, &error)) {
        stream_all(request, 200, qr->png ? "image/png" : "image/svg+xml", picture);
        return;
    }
    evbuffer_free(picture);
    request_bad_parameter(request, "size", "%s", error.text);
    request_bad_answer(request, 422, "invalid", "the picture cannot be made");
}

static void start(struct request *request, bool png)
{
    char workspace[24], id[24];
    const char *parameters[] = {workspace, id};
    struct qr *qr = calloc(1, sizeof *qr);

    assert(qr && !request->state);
    request->state = qr;
    qr->png = png;
    read_look(request, &qr->look);
    if (request_is_bad(request)) {
        request_bad_answer(request, 422, "invalid", "the picture cannot be made as asked for");
        return;
    }
    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(id, sizeof id, "%" PRIu64, request->id);
    pool_query(request->admin->pool, &find, 2, parameters, on_found, request);
}

void qr_on_svg(struct request *request)
{
    start(request, false);
}

void qr_on_png(struct request *request)
{
    start(request, true);
}
