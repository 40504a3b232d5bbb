/* See visit.h.
 *
 * Salts are made in PostgreSQL and come with the replica, some days ahead; they are read again at
 * every tick, so that one that was deleted there is soon nowhere. A worker that knows none makes no
 * visitor values: a value that nobody else could make again would count the same visitor twice. */
#include "server/redirect/visit.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>
#include <sys/random.h>

#include "server/redirect/test_link.h"
#include "server/visitor/client_address.h"
#include "server/visitor/identity.h"
#include "shared/clock.h"

#define DAY_US (86400 * US_PER_SECOND)

static_assert(REPLICA_SALT_BYTES == IDENTITY_SALT_BYTES, "what sync stores is what is needed");
static_assert(crypto_shorthash_KEYBYTES == CLICK_ID_SECRET_BYTES, "the secret is a key");

void visit_open(struct worker *worker)
{
    /* Splits need no secret, only that processes differ: time and place are good enough then. */
    if (getrandom(&worker->random, sizeof worker->random, GRND_NONBLOCK) !=
        (ssize_t)sizeof worker->random)
        worker->random = (uint64_t)clock_mono_us() ^ (uint64_t)(uintptr_t)worker;
}

/* SplitMix64: one state, no repetition in 2^64 draws. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t value = *state += 0x9e3779b97f4a7c15u;

    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

void visit_read_salt(struct worker *worker)
{
    struct day_salt *salt = &worker->salt;
    int64_t day = worker->round.wall_us / DAY_US;

    assert(worker->round.open);
    salt->from_us = day * DAY_US;
    salt->until_us = salt->from_us + DAY_US;
    salt->is_known = replica_salt(worker->replica, day, salt->bytes);
    if (!salt->is_known)
        memset(salt->bytes, 0, sizeof salt->bytes);
}

void visit_follow_day(struct worker *worker)
{
    const struct day_salt *salt = &worker->salt;

    if (worker->round.wall_us < salt->from_us || worker->round.wall_us >= salt->until_us)
        visit_read_salt(worker);
}

void visit_classify(struct worker *worker, const struct sockaddr *peer, const struct link *link,
                    struct classify_scratch *scratch, struct click *click)
{
    struct request *request = &worker->request;
    struct visitor_request *visitor = &request->visitor;
    struct sockaddr_storage client;

    visitor->address = peer;
    if (peer && worker->trusted.count > 0) {
        client_address(&worker->trusted, peer, request->forwarded, request->forwarded_for, &client);
        visitor->address = (struct sockaddr *)&client;
    }
    classify(worker->classifier, visitor, scratch, click);
    if (link && test_link_is_signed(request->query, link->id, worker->context->secret)) {
        click->verdict = VERDICT_INTERNAL;
        click->rule = TEXT("test_link");
    }
    if (worker->salt.is_known && visitor->address && !(click->flags & CLICK_NO_VISITOR))
        click->visitor =
            identity_of(worker->salt.bytes, visitor->address, visitor->user_agent, click->domain);
    visitor->address = NULL; /* it may point into this function */
}

uint64_t visit_draw(struct worker *worker, const struct click *click)
{
    const uint64_t of[2] = {click->visitor, click->link};
    unsigned char hash[crypto_shorthash_BYTES];
    uint64_t draw;

    if (click->visitor == 0)
        return next_random(&worker->random);
    crypto_shorthash(hash, (const unsigned char *)of, sizeof of, worker->context->secret);
    memcpy(&draw, hash, sizeof draw);
    return draw;
}
