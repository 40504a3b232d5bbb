/* Hosts, as the WHATWG URL standard parses them for http and https; see host.h.
 *
 * Differences, all on the strict side: names longer than 253 bytes or with labels of more than 63,
 * which no resolver can look up, are refused.
 * Internationalised names are libidn2's business (UTS #46, non-transitional, as browsers do). ASCII
 * names are only folded, even those with xn-- labels. */
#include "server/links/host.h"

#include <arpa/inet.h>
#include <assert.h>
#include <idn2.h>
#include <stdio.h>
#include <string.h>

#include "shared/text.h"
#include "shared/utf8.h"

#define DECODED_MAX 1024 /* bytes of a percent-decoded host that are looked at */
#define LABEL_MAX   63
#define IPV4_PARTS  4
#define IPV6_PIECES 8

/* IPv6 ----------------------------------------------------------------------------------------- */

/* The first of the longest runs of at least two zero pieces; length 0: none. */
static int longest_zeros(const unsigned pieces[IPV6_PIECES], int *length)
{
    int best = 0, run = 0;

    *length = 1;
    for (int i = 0; i < IPV6_PIECES; i++) {
        run = pieces[i] == 0 ? run + 1 : 0;
        if (run > *length) {
            *length = run;
            best = i - run + 1;
        }
    }
    if (*length == 1)
        *length = 0;
    return best;
}

static void write_ipv6(const unsigned pieces[IPV6_PIECES], char out[LINK_HOST_MAX + 1])
{
    int zeros, start = longest_zeros(pieces, &zeros), used = 1;

    out[0] = '[';
    for (int i = 0; i < IPV6_PIECES; i++) {
        if (zeros > 0 && i == start) {
            used += snprintf(out + used, 3, "%s", i == 0 ? "::" : ":");
            i += zeros - 1;
            continue;
        }
        used += snprintf(out + used, 6, "%x%s", pieces[i], i < IPV6_PIECES - 1 ? ":" : "");
    }
    out[used++] = ']';
    out[used] = '\0';
    assert(used < LINK_HOST_MAX);
}

static bool parse_ipv6(const char *text, size_t length, char out[LINK_HOST_MAX + 1],
                       struct error *error)
{
    char address[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    unsigned pieces[IPV6_PIECES];

    if (length < 2 || text[length - 1] != ']' || length - 2 >= sizeof address)
        return error_set(error, "the host is no valid IPv6 address");
    memcpy(address, text + 1, length - 2);
    address[length - 2] = '\0';
    if (inet_pton(AF_INET6, address, bytes) != 1)
        return error_set(error, "the host is no valid IPv6 address");
    for (int i = 0; i < IPV6_PIECES; i++)
        pieces[i] = (unsigned)bytes[2 * i] << 8 | bytes[2 * i + 1];
    write_ipv6(pieces, out);
    return true;
}

/* IPv4, with all that browsers take for it: fewer parts, octal, hexadecimal ----------------------- */

/* One number; false if it is none. Values are cut at 2^40, which is too large anyway. */
static bool parse_number(struct text part, uint64_t *value)
{
    unsigned base = 10;

    *value = 0;
    if (part.length == 0)
        return false;
    if (part.length >= 2 && part.bytes[0] == '0') {
        base = ascii_lower(part.bytes[1]) == 'x' ? 16 : 8;
        part.bytes += base == 16 ? 2 : 1;
        part.length -= base == 16 ? 2 : 1;
    }
    for (size_t i = 0; i < part.length; i++) {
        char c = ascii_lower(part.bytes[i]);
        unsigned digit = ascii_is_digit(c)      ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : base;

        if (digit >= base)
            return false;
        if (*value < UINT64_C(1) << 40)
            *value = *value * base + digit;
    }
    return true;
}

static bool is_digits(struct text text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!ascii_is_digit(text.bytes[i]))
            return false;
    return text.length > 0;
}

/* Whether a name is meant to be an IPv4 address: its last label is a number. */
static bool ends_in_number(struct text host)
{
    struct text last = host;
    uint64_t unused;

    if (last.length > 0 && last.bytes[last.length - 1] == '.')
        last.length--;
    for (size_t i = last.length; i > 0; i--) {
        if (last.bytes[i - 1] == '.') {
            last = (struct text){last.bytes + i, last.length - i};
            break;
        }
    }
    return is_digits(last) || parse_number(last, &unused);
}

static bool parse_ipv4(struct text host, char out[LINK_HOST_MAX + 1])
{
    uint64_t parts[IPV4_PARTS], address;
    struct text rest = host;
    int count = 0;

    if (rest.bytes[rest.length - 1] == '.')
        rest.length--;
    while (rest.bytes) {
        struct text part = text_cut(&rest, '.');

        if (count == IPV4_PARTS || !parse_number(part, &parts[count++]))
            return false;
    }
    address = parts[count - 1]; /* the last one fills all bytes that the others left */
    if (address >> (8 * (IPV4_PARTS + 1 - count)) != 0)
        return false;
    for (int i = 0; i < count - 1; i++) {
        if (parts[i] > 255)
            return false;
        address |= parts[i] << (8 * (IPV4_PARTS - 1 - i));
    }
    snprintf(out, LINK_HOST_MAX + 1, "%u.%u.%u.%u", (unsigned)(address >> 24 & 255),
             (unsigned)(address >> 16 & 255), (unsigned)(address >> 8 & 255),
             (unsigned)(address & 255));
    return true;
}

/* Names ---------------------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes and checks that it is UTF-8; tells whether it is ASCII. */
static bool decode(struct text host, char out[DECODED_MAX + 1], bool *ascii, struct error *error)
{
    size_t used = 0;
    uint32_t unused;

    *ascii = true;
    for (size_t at = 0; at < host.length; at++) {
        char c = host.bytes[at];

        if (c == '%') {
            int high = host.length - at < 3 ? -1 : hex_value(host.bytes[at + 1]);
            int low = high < 0 ? -1 : hex_value(host.bytes[at + 2]);

            if (low < 0)
                return error_set(error, "the host contains a %% that encodes nothing");
            c = (char)(high << 4 | low);
            at += 2;
        }
        if (used == DECODED_MAX || c == '\0')
            return error_set(error, "the host is not valid");
        *ascii = *ascii && (unsigned char)c < 0x80;
        out[used++] = c;
    }
    out[used] = '\0';
    for (size_t at = 0, size; at < used; at += size)
        if ((size = utf8_decode(out + at, used - at, &unused)) == 0)
            return error_set(error, "the host is not UTF-8 text");
    return true;
}

/* Lengths that resolvers insist on; empty labels are the browsers' business. */
static bool check_lengths(const char *name, struct error *error)
{
    size_t label = 0;

    if (strlen(name) > LINK_HOST_MAX)
        return error_set(error, "the host is longer than %d bytes", LINK_HOST_MAX);
    for (; *name; name++) {
        label = *name == '.' ? 0 : label + 1;
        if (label > LABEL_MAX)
            return error_set(error, "a part of the host is longer than %d bytes", LABEL_MAX);
    }
    return true;
}

static bool check_characters(const char *name, struct error *error)
{
    for (; *name; name++) {
        if (*name > 0x20 && *name < 0x7F && !strchr("#/:<>?@[\\]^|%", *name))
            continue;
        if (*name > 0x20 && *name < 0x7F)
            return error_set(error, "the host cannot contain %c", *name);
        return error_set(error, "the host contains a control character or space");
    }
    return true;
}

static bool to_ascii(const char *name, char out[LINK_HOST_MAX + 1], struct error *error)
{
    char *converted = NULL;
    int rc = idn2_to_ascii_8z(name, &converted, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
    bool good;

    if (rc != IDN2_OK)
        return error_set(error, "the host cannot be converted (%s); give its xn-- form",
                         idn2_strerror(rc));
    good = check_lengths(converted, error);
    if (good)
        snprintf(out, LINK_HOST_MAX + 1, "%s", converted);
    idn2_free(converted);
    return good;
}

bool host_parse(const char *host, size_t length, char out[LINK_HOST_MAX + 1], struct error *error)
{
    char decoded[DECODED_MAX + 1] = "";
    bool ascii;

    assert(length > 0);
    if (host[0] == '[')
        return parse_ipv6(host, length, out, error);
    if (!decode((struct text){host, length}, decoded, &ascii, error))
        return false;
    if (ascii) {
        if (!check_lengths(decoded, error))
            return false;
        snprintf(out, LINK_HOST_MAX + 1, "%.*s", LINK_HOST_MAX, decoded);
    } else if (!to_ascii(decoded, out, error)) {
        return false;
    }
    for (char *c = out; *c; c++)
        *c = ascii_lower(*c);
    if (*out == '\0')
        return error_set(error, "has no host");
    if (!check_characters(out, error))
        return false;
    if (ends_in_number((struct text){out, strlen(out)})) {
        memcpy(decoded, out, strlen(out) + 1);
        if (!parse_ipv4((struct text){decoded, strlen(decoded)}, out))
            return error_set(error, "the host is no valid IPv4 address");
    }
    return true;
}
