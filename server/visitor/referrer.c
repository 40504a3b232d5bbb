/* See referrer.h. */
#include "server/visitor/referrer.h"

#include <string.h>

static bool skip_scheme(struct text *url)
{
    static const char *const schemes[] = {"https://", "http://", "android-app://"};

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);

        if (url->length > length &&
            text_equals_nocase((struct text){url->bytes, length}, schemes[i])) {
            url->bytes += length;
            url->length -= length;
            return true;
        }
    }
    return false;
}

static bool ends_authority(char c)
{
    return c == '/' || c == '?' || c == '#' || c == '\\';
}

/* The authority's host: behind the last '@', before the port. */
static struct text host_of(struct text url)
{
    size_t end = 0, start = 0;

    while (end < url.length && !ends_authority(url.bytes[end]))
        if (url.bytes[end++] == '@')
            start = end;
    url.bytes += start;
    url.length = end - start;
    if (url.length && url.bytes[0] != '[')
        url = text_cut(&url, ':');
    if (url.length && url.bytes[url.length - 1] == '.')
        url.length--;
    return url;
}

struct text referrer_host(struct text referrer, char out[EVENT_REFERRER_MAX])
{
    struct text url = text_trim(referrer), host;

    if (!skip_scheme(&url))
        return (struct text){NULL, 0};
    host = host_of(url);
    if (host.length == 0 || host.length > EVENT_REFERRER_MAX || host.bytes[0] == '[')
        return (struct text){NULL, 0};
    for (size_t i = 0; i < host.length; i++) {
        char c = host.bytes[i];

        if (!ascii_is_alnum(c) && c != '-' && c != '.' && c != '_')
            return (struct text){NULL, 0};
        out[i] = ascii_lower(c);
    }
    return (struct text){out, host.length};
}
