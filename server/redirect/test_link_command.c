/* `kudos test-link SHORT_URL`: prints the short link with its sign (test_link.h). Looks the link up
 * in this machine's replica, so it works where the link redirects, also while PostgreSQL is away.
 * Changes nothing. */
#include <stdio.h>
#include <string.h>

#include "server/commands.h"
#include "server/links/replica.h"
#include "server/links/slug.h"
#include "server/redirect/test_link.h"
#include "shared/log.h"

struct short_url {
    struct text host, path; /* without port, without slash */
};

/* http://host:port/slug?…, or the same without its scheme. */
static struct short_url read_url(const char *url)
{
    const char *scheme = strstr(url, "://");
    struct text rest = {scheme ? scheme + 3 : url, strlen(scheme ? scheme + 3 : url)};
    struct text authority = text_cut(&rest, '/');

    return (struct short_url){text_cut(&authority, ':'), text_cut(&rest, '?')};
}

static bool find_link(struct replica *replica, const struct short_url *url, struct link *out)
{
    char host[LINK_HOST_MAX], slug[LINK_SLUG_MAX];
    struct domain domain;
    size_t length = url->host.length;

    if (length > sizeof host)
        return false;
    for (size_t i = 0; i < length; i++)
        host[i] = ascii_lower(url->host.bytes[i]);
    if (!replica_find_domain(replica, host, length, &domain) &&
        !replica_default_domain(replica, &domain))
        return false;
    length = slug_from_path(url->path.bytes, url->path.length, !domain.case_sensitive, slug);
    return length > 0 && replica_find_link(replica, domain.id, slug, length, out);
}

static int print_test_link(const char *text, const struct settings *settings,
                           struct replica *replica)
{
    unsigned char secret[CLICK_ID_SECRET_BYTES];
    char sign[TEST_LINK_SIGN_LENGTH + 1];
    const struct short_url url = read_url(text);
    struct error error;
    struct link link;

    if (!test_link_load_secret(settings, secret, &error)) {
        fprintf(stderr, "kudos test-link: %s\n", error.text);
        return 2;
    }
    if (!replica_complete(replica)) {
        fprintf(stderr, "kudos test-link: there are no links on this machine yet\n");
        return 2;
    }
    if (!find_link(replica, &url, &link)) {
        fprintf(stderr, "kudos test-link: there is no such link\n");
        return 1;
    }
    test_link_sign(link.id, secret, sign);
    printf("%.*s?" TEST_LINK_PARAM "=%s\n", (int)strcspn(text, "?#"), text, sign);
    return 0;
}

int test_link_command(int argc, char **argv, const struct settings *settings)
{
    struct replica *replica;
    struct error error;
    int status;

    if (argc != 2) {
        fprintf(stderr, "usage: kudos test-link SHORT_URL\n");
        return 2;
    }
    log_open("test-link", LOG_LEVEL_WARN);
    replica = replica_open(settings->data_dir, &error);
    if (!replica) {
        fprintf(stderr, "kudos test-link: %s\n", error.text);
        return 2;
    }
    replica_begin(replica);
    status = print_test_link(argv[1], settings, replica);
    replica_end(replica);
    replica_close(replica);
    return status;
}
