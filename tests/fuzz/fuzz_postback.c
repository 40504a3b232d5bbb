/* Postbacks: whatever is sent is refused with a sentence, or becomes an event that can be encoded and
 * whose text is JSON. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/conversions/postback.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check(const struct postback *read)
{
    static unsigned char payload[EVENT_PAYLOAD_MAX];
    struct event event = {.kind = EVENT_CONVERSION, .conversion = read->conversion}, decoded;
    struct error error;
    size_t length = event_encode(&event, payload);
    json_t *told = json_loadb(read->told, read->conversion.told.length, 0, NULL);

    require(event_decode(payload, length, &decoded, &error));
    require(json_is_object(told) && json_is_string(json_object_get(told, "key")));
    json_decref(told);
}

/* The first byte says where the query ends and the body begins, and what it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char secret[16];
    static struct postback read;
    struct postback_input input = {.path = CONVERSION_BEACON,
                                   .click_id_param = "kudos_id",
                                   .secret = secret,
                                   .now_us = 1795299300123456};
    size_t query;

    if (size == 0)
        return 0;
    query = data[0] % 128 * 4 < size - 1 ? data[0] % 128 * 4 : size - 1;
    input.query = (struct text){(const char *)data + 1, query};
    input.body = (struct text){(const char *)data + 1 + query, size - 1 - query};
    input.is_json = data[0] & 128;
    if (input.body.length > POSTBACK_BODY_MAX)
        return 0;
    if (input.body.length == 0)
        input.body.bytes = NULL;
    if (postback_read(&input, &read))
        check(&read);
    else
        require(read.problem[0] != '\0');
    return 0;
}
