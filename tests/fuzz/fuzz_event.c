/* Payloads: whatever is accepted is exactly what would be encoded, and any text can be encoded. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/clicks/event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

/* Takes the next piece of the input as a text: a length byte, then that many bytes or fewer. */
static struct text next_text(const uint8_t **data, size_t *size)
{
    struct text text = {NULL, 0};
    size_t length;

    if (*size == 0)
        return text;
    length = (size_t) * *data * 2;
    ++*data;
    --*size;
    length = length < *size ? length : *size;
    text.bytes = (const char *)*data;
    text.length = length;
    *data += length;
    *size -= length;
    return text;
}

static void encode_anything(const uint8_t *data, size_t size)
{
    unsigned char payload[EVENT_PAYLOAD_MAX], again[EVENT_PAYLOAD_MAX];
    struct event event = {.kind = EVENT_CLICK}, decoded;
    struct error error;
    size_t length;

    if (size >= 2)
        memcpy(event.click.country, data, 2);
    event.click.rule = next_text(&data, &size);
    event.click.referrer_host = next_text(&data, &size);
    event.click.language = next_text(&data, &size);
    event.click.region = next_text(&data, &size);
    event.click.city = next_text(&data, &size);
    length = event_encode(&event, payload);
    require(event_decode(payload, length, &decoded, &error));
    require(event_encode(&decoded, again) == length && memcmp(payload, again, length) == 0);
}

/* A conversion with any numbers; its JSON is always made by jansson, so plain text will do. */
static void encode_conversion(const uint8_t *data, size_t size)
{
    static unsigned char payload[EVENT_PAYLOAD_MAX], again[EVENT_PAYLOAD_MAX];
    static char told[EVENT_TOLD_MAX];
    struct event event = {.kind = EVENT_CONVERSION}, decoded;
    struct conversion *conversion = &event.conversion;
    struct error error;
    size_t length;

    if (size < 2 + 3 * EVENT_HASH_BYTES)
        return;
    conversion->path = (uint8_t)(1 + data[0] % (CONVERSION_PATHS - 1));
    conversion->verified = data[1] & 1;
    memcpy(conversion->token_hash, data + 2, EVENT_HASH_BYTES);
    memcpy(conversion->digest, data + 2 + EVENT_HASH_BYTES, EVENT_HASH_BYTES);
    memcpy(conversion->signature, data + 2 + 2 * EVENT_HASH_BYTES, EVENT_HASH_BYTES);
    memcpy(&conversion->workspace, data + 2, sizeof conversion->workspace);
    memcpy(&conversion->source, data + 10, sizeof conversion->source);
    size = size < EVENT_TOLD_MAX ? size : EVENT_TOLD_MAX;
    for (size_t i = 0; i < size; i++)
        told[i] = (char)(data[i] % 127 + 1);
    conversion->told = (struct text){told, size};
    length = event_encode(&event, payload);
    require(event_decode(payload, length, &decoded, &error));
    require(event_encode(&decoded, again) == length && memcmp(payload, again, length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char again[EVENT_PAYLOAD_MAX];
    struct event event;
    struct error error;

    if (event_decode(data, size, &event, &error))
        require(event_encode(&event, again) == size && memcmp(again, data, size) == 0);
    encode_anything(data, size);
    encode_conversion(data, size);
    return 0;
}
