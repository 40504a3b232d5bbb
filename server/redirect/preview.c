/* See preview.h. */
#include "server/redirect/preview.h"

#include <assert.h>
#include <string.h>

static char *put_html(char *at, const char *html)
{
    size_t length = strlen(html);

    memcpy(at, html, length);
    return at + length;
}

static const char *escape_of(char c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

/* Text for an element or a quoted attribute. Control characters are no text. */
static char *put_text(char *at, struct text text)
{
    for (size_t i = 0; i < text.length; i++) {
        const char *escape = escape_of(text.bytes[i]);

        if (escape)
            at = put_html(at, escape);
        else
            *at++ = (unsigned char)text.bytes[i] < ' ' ? ' ' : text.bytes[i];
    }
    return at;
}

static bool is_web(struct text url)
{
    static const char *const schemes[] = {"https://", "http://"};

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t length = strlen(schemes[i]);

        if (url.length > length && text_equals_nocase((struct text){url.bytes, length}, schemes[i]))
            return true;
    }
    return false;
}

static char *put_short_link(char *at, const struct preview *preview)
{
    at = put_text(at, preview->host);
    *at++ = '/';
    return put_text(at, preview->link->slug);
}

static char *put_campaign(char *at, const struct link *link)
{
    if (link->campaign_name.length == 0)
        return at;
    at = put_html(at, "<dt>Campaign</dt><dd><bdi>");
    at = put_text(at, link->campaign_name);
    return put_html(at, "</bdi></dd>\n");
}

static char *put_influencer(char *at, const struct link *link)
{
    bool is_linked = is_web(link->influencer_url);

    if (link->influencer_name.length == 0)
        return at;
    at = put_html(at, "<dt>Shared by</dt><dd>");
    if (is_linked) {
        at = put_html(at, "<a rel=\"nofollow noopener\" href=\"");
        at = put_text(at, link->influencer_url);
        at = put_html(at, "\">");
    }
    at = put_html(at, "<bdi>");
    at = put_text(at, link->influencer_name);
    at = put_html(at, "</bdi>");
    return put_html(at, is_linked ? "</a></dd>\n" : "</dd>\n");
}

static char *put_note(char *at, const struct preview *preview)
{
    if (preview->is_late)
        return put_html(at, "<p>This link is over; this is where late visitors go.</p>\n");
    if (preview->link->rules.length > 0)
        return put_html(at, "<p>This link leads visitors to different places, for example by "
                            "device or country. The one shown is yours.</p>\n");
    return at;
}

size_t preview_write(const struct preview *preview, char out[PREVIEW_MAX])
{
    char *at = out;

    at = put_html(at, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    at = put_short_link(at, preview);
    at = put_html(at, "</title>\n<style>" PREVIEW_STYLE "</style></head>\n"
                      "<body><main><h1>Where this link leads</h1>\n<dl>\n"
                      "<dt>Short link</dt><dd>");
    at = put_short_link(at, preview);
    at = put_html(at, "</dd>\n<dt>Destination</dt><dd>");
    at = put_text(at, preview->destination);
    at = put_html(at, "</dd>\n");
    at = put_campaign(at, preview->link);
    at = put_influencer(at, preview->link);
    at = put_html(at, "</dl>\n");
    at = put_note(at, preview);
    at = put_html(at, "<p><a rel=\"nofollow\" href=\"/");
    at = put_text(at, preview->link->slug);
    at = put_html(at, "\">Follow the link</a></p>\n</main></body></html>\n");
    assert((size_t)(at - out) <= PREVIEW_MAX);
    return (size_t)(at - out);
}
