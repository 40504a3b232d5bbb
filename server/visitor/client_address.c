/* See client_address.h. */
#include "server/visitor/client_address.h"

#include <assert.h>
#include <netinet/in.h>
#include <string.h>

/* "[IPv6]:port", "[IPv6]", "IPv4:port", or an address alone. The port may be obfuscated (RFC 7239);
 * it is not looked at beyond its characters. */
static bool parse_node(struct text node, struct sockaddr_storage *out)
{
    struct text port = {NULL, 0};

    if (node.length && node.bytes[0] == '[') {
        const char *end = memchr(node.bytes, ']', node.length);

        if (!end)
            return false;
        port = (struct text){end + 1, node.length - (size_t)(end + 1 - node.bytes)};
        node = (struct text){node.bytes + 1, (size_t)(end - node.bytes - 1)};
        if (!memchr(node.bytes, ':', node.length) || (port.length && port.bytes[0] != ':'))
            return false;
    } else {
        struct text rest = node, host = text_cut(&rest, ':');

        if (rest.bytes && !memchr(rest.bytes, ':', rest.length)) { /* one colon: not IPv6 */
            port = (struct text){rest.bytes - 1, rest.length + 1};
            node = host;
        }
    }
    for (size_t i = 1; i < port.length; i++)
        if (!ascii_is_alnum(port.bytes[i]) && !strchr("._-", port.bytes[i]))
            return false;
    return port.length != 1 && network_address(node, out);
}

/* Cuts the last element off `list`. Quoted strings hold no commas in what we accept: one that does
 * is no address either way. */
static struct text last_element(struct text *list)
{
    const char *comma = list->length ? memrchr(list->bytes, ',', list->length) : NULL;
    struct text element = *list;

    if (!comma) {
        *list = (struct text){NULL, 0};
        return text_trim(element);
    }
    element.bytes = comma + 1;
    element.length = (size_t)(list->bytes + list->length - element.bytes);
    list->length = (size_t)(comma - list->bytes);
    return text_trim(element);
}

/* The value of "for" in one element of Forwarded, without quotes; false if there is none. */
static bool forwarded_node(struct text element, struct text *out)
{
    while (element.bytes) {
        struct text pair = text_trim(text_cut(&element, ';'));

        if (pair.length < 4 || !text_equals_nocase((struct text){pair.bytes, 4}, "for="))
            continue;
        *out = (struct text){pair.bytes + 4, pair.length - 4};
        if (out->length >= 2 && out->bytes[0] == '"' && out->bytes[out->length - 1] == '"')
            *out = (struct text){out->bytes + 1, out->length - 2};
        return true;
    }
    return false;
}

static void copy_address(const struct sockaddr *from, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (from->sa_family == AF_INET)
        memcpy(out, from, sizeof(struct sockaddr_in));
    else if (from->sa_family == AF_INET6)
        memcpy(out, from, sizeof(struct sockaddr_in6));
    else
        out->ss_family = AF_UNSPEC;
}

void client_address(const struct networks *trusted, const struct sockaddr *peer,
                    struct text forwarded, struct text forwarded_for, struct sockaddr_storage *out)
{
    bool rfc7239 = text_trim(forwarded_for).length == 0;
    struct text list = rfc7239 ? forwarded : forwarded_for;

    copy_address(peer, out);
    for (int hops = 0; hops < CLIENT_ADDRESS_HOPS_MAX && list.length > 0;) {
        struct sockaddr_storage hop;
        struct text element = last_element(&list);

        if (element.length == 0)
            continue;
        if (!networks_contain(trusted, (const struct sockaddr *)out))
            return;
        if ((rfc7239 && !forwarded_node(element, &element)) || !parse_node(element, &hop))
            return;
        *out = hop;
        hops++;
    }
}
