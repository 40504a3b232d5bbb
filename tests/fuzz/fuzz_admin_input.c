/* What the admin plane reads from a request's target and from texts in a body. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/list.h"
#include "server/admin/request/input.h"
#include "server/admin/request/query.h"
#include "server/admin/routes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), allow[64], name[REQUEST_NAME_MAX];
    const struct route *route = NULL;
    struct query *query = malloc(sizeof *query);
    uint64_t id = 0;
    int64_t us = 0;

    assert(text && query);
    memcpy(text, data, size);
    text[size] = '\0';
    if (query_parse(text, query)) {
        assert(query->count <= QUERY_PARAMETERS_MAX);
        for (size_t i = 0; i < query->count; i++) {
            assert(query_get(query, query->names[i]) == query->values[i]);
            assert(input_is_utf8(query->values[i], strlen(query->values[i])));
        }
    }
    if (input_to_id(text, &id))
        assert(id > 0 && id <= INT64_MAX && strlen(text) <= 19);
    if (input_to_time(text, &us))
        assert(us > -57600000000 && us < 253402401600000000);
    if (cursor_read(text, &id))
        assert(id > 0 && id <= INT64_MAX);
    if (route_find(EVHTTP_REQ_GET, text, &route, &id, name, allow) == ROUTE_FOUND)
        assert(route && text[0] == '/');
    if (input_is_utf8(text, size))
        (void)input_has_control(text, size);
    free(query);
    free(text);
    return 0;
}
