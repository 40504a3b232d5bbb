/* X-Forwarded-For, Forwarded and the PROXY protocol. An address comes out, whatever goes in; an
 * untrusted peer is always itself; bytes that arrive one by one come to the same end. */
#include <assert.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/visitor/client_address.h"
#include "server/visitor/proxy_protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_forwarded(struct text text)
{
    struct sockaddr_in peer = {.sin_family = AF_INET};
    struct sockaddr_storage out;
    struct networks trusted;
    struct error error;

    peer.sin_addr.s_addr = htonl(0x0a000001);
    assert(networks_parse("10.0.0.0/8 fd00::/8", &trusted, &error));
    client_address(&trusted, (struct sockaddr *)&peer, text, (struct text){NULL, 0}, &out);
    assert(out.ss_family == AF_INET || out.ss_family == AF_INET6);
    client_address(&trusted, (struct sockaddr *)&peer, text, text, &out);
    assert(out.ss_family == AF_INET || out.ss_family == AF_INET6);
    peer.sin_addr.s_addr = htonl(0xc6336407);
    client_address(&trusted, (struct sockaddr *)&peer, text, text, &out);
    assert(out.ss_family == AF_INET &&
           ((struct sockaddr_in *)&out)->sin_addr.s_addr == peer.sin_addr.s_addr);
}

static void try_proxy_protocol(const uint8_t *data, size_t size)
{
    struct sockaddr_storage address;
    int whole = proxy_protocol_parse(data, size, &address);

    assert(whole == PROXY_PROTOCOL_BAD || whole == PROXY_PROTOCOL_PARTIAL ||
           (whole > 0 && (size_t)whole <= size && whole <= PROXY_PROTOCOL_MAX));
    for (size_t i = 0; i < size && i < PROXY_PROTOCOL_MAX; i++) {
        int part = proxy_protocol_parse(data, i, &address);

        if (part == PROXY_PROTOCOL_PARTIAL)
            continue;
        assert(part == whole);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char copy[256];
    struct networks networks;
    struct error error;

    try_forwarded((struct text){(const char *)data, size});
    try_proxy_protocol(data, size);
    memcpy(copy, data, size < sizeof copy - 1 ? size : sizeof copy - 1);
    copy[size < sizeof copy - 1 ? size : sizeof copy - 1] = '\0';
    if (!networks_parse(copy, &networks, &error))
        assert(error.text[0]);
    return 0;
}
