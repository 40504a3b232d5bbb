/* See request.h. */
#include "server/redirect/request.h"

#include <assert.h>
#include <string.h>

/* Host is ASCII by now: http_head has checked its bytes. */
static void read_host(const struct text *host, struct request *out)
{
    const char *bytes = host->bytes, *colon;
    size_t length = host->length;

    out->host_length = 0;
    if (length > 0 && bytes[0] != '[' && (colon = memchr(bytes, ':', length)))
        length = (size_t)(colon - bytes);
    if (length > 0 && bytes[0] == '[')
        length = (size_t)((const char *)memchr(bytes, ']', length) - bytes) + 1;
    if (length > 0 && bytes[length - 1] == '.')
        length--;
    if (length > LINK_HOST_MAX)
        return;
    for (size_t i = 0; i < length; i++) {
        out->host[i] = ascii_lower(bytes[i]);
    }
    out->host_length = length;
}

/* Several lines are one list. Built from its end, which is the part that can be believed. */
static struct text join(const struct http_head *head, enum http_name wanted, char *out)
{
    struct text rest = head->fields, name, value;
    size_t used = 0;

    while (http_next_field(&rest, &name, &value)) {
        size_t room = REQUEST_FORWARDED_MAX - 1, length = value.length, over;

        if (http_name_of(name.bytes, name.length) != wanted)
            continue;
        if (length > room) {
            value.bytes += length - room;
            length = room;
        }
        over = used + length > room ? used + length - room : 0;
        memmove(out, out + over, used - over);
        used -= over;
        memcpy(out + used, value.bytes, length);
        used += length;
        out[used++] = ',';
        assert(used <= REQUEST_FORWARDED_MAX);
    }
    return (struct text){out, used - 1};
}

static struct text list_of(const struct http_head *head, enum http_name name, char *joined)
{
    return head->repeated & 1u << name ? join(head, name, joined) : head->known[name];
}

static bool ends(const struct text *text, const char *other)
{
    size_t length = strlen(other);

    return text->length > length && memcmp(text->bytes + text->length - length, other, length) == 0;
}

/* Takes away the '+' that asks for the preview of a link, as it is or percent-encoded. */
static bool cut_plus(struct text *path)
{
    if (ends(path, "+"))
        path->length -= 1;
    else if (ends(path, "%2B") || ends(path, "%2b"))
        path->length -= 3;
    else
        return false;
    return true;
}

void request_read(const struct http_head *head, struct request *out)
{
    const struct text *known = head->known;
    enum http_name purpose = known[HTTP_NAME_PURPOSE].bytes     ? HTTP_NAME_PURPOSE
                             : known[HTTP_NAME_X_PURPOSE].bytes ? HTTP_NAME_X_PURPOSE
                                                                : HTTP_NAME_X_MOZ;

    out->method = head->method;
    out->path = head->path;
    if (out->path.length > 0) {
        assert(out->path.bytes[0] == '/');
        out->path.bytes++;
        out->path.length--;
    }
    out->preview = cut_plus(&out->path);
    out->query = head->query;
    read_host(&head->host, out);
    out->forwarded_for = list_of(head, HTTP_NAME_X_FORWARDED_FOR, out->joined);
    out->forwarded = (struct text){NULL, 0};
    if (!out->forwarded_for.bytes)
        out->forwarded = list_of(head, HTTP_NAME_FORWARDED, out->joined);
    out->visitor = (struct visitor_request){
        .host = {out->host, out->host_length},
        .query = head->query,
        .user_agent = known[HTTP_NAME_USER_AGENT],
        .accept_language = known[HTTP_NAME_ACCEPT_LANGUAGE],
        .referrer = known[HTTP_NAME_REFERER],
        .sec_purpose = known[HTTP_NAME_SEC_PURPOSE],
        .purpose = known[purpose],
        .gpc = known[HTTP_NAME_SEC_GPC],
        .dnt = known[HTTP_NAME_DNT],
        .brands = known[HTTP_NAME_SEC_CH_UA],
        .mobile = known[HTTP_NAME_SEC_CH_UA_MOBILE],
        .platform = known[HTTP_NAME_SEC_CH_UA_PLATFORM],
        .model = known[HTTP_NAME_SEC_CH_UA_MODEL],
        .requested_with = known[HTTP_NAME_X_REQUESTED_WITH],
    };
}

static bool is(const struct text *text, const char *other)
{
    return text->length == strlen(other) && memcmp(text->bytes, other, text->length) == 0;
}

static bool starts(const struct text *text, const char *other)
{
    return text->length >= strlen(other) && memcmp(text->bytes, other, strlen(other)) == 0;
}

/* What is told under "-/". */
static enum route told_route(const struct text *path)
{
    if (is(path, "-/postback"))
        return ROUTE_POSTBACK;
    if (is(path, "-/pixel.gif"))
        return ROUTE_PIXEL;
    if (is(path, "-/beacon"))
        return ROUTE_BEACON;
    return is(path, "-/kudos.js") ? ROUTE_SCRIPT : ROUTE_NOTHING;
}

enum route request_route(const struct request *request)
{
    const struct text *path = &request->path;

    if (request->method > HTTP_HEAD) {
        enum route route =
            starts(path, "-/") && !request->preview ? told_route(path) : ROUTE_NOTHING;
        return route == ROUTE_NOTHING ? ROUTE_METHOD : route;
    }
    if (request->preview)
        return starts(path, "-/") || starts(path, ".well-known/") ? ROUTE_NOTHING : ROUTE_PREVIEW;
    if (path->length == 0)
        return ROUTE_ROOT;
    if (starts(path, "-/"))
        return is(path, "-/health") ? ROUTE_HEALTH : told_route(path);
    if (is(path, "robots.txt"))
        return ROUTE_ROBOTS;
    if (is(path, "favicon.ico"))
        return ROUTE_FAVICON;
    if (!starts(path, ".well-known/"))
        return ROUTE_LINK;
    if (is(path, ".well-known/apple-app-site-association"))
        return ROUTE_ASSOCIATION;
    return is(path, ".well-known/assetlinks.json") ? ROUTE_ASSETLINKS : ROUTE_NOTHING;
}
