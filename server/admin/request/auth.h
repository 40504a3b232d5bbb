#pragma once
/* API keys: "kudos_<prefix>_<secret>", 8 and 43 characters. The secret has 256 random bits, so a
 * fast hash (SHA-256) of the whole key is all that is stored, and it is what is looked up.
 *
 * Every request asks PostgreSQL, so revoking and expiring work at once. On routes whose handlers
 * begin with request_run() (ROUTE_GUARDED) a key that was confirmed within AUTH_MEMORY_MS is confirmed
 * again in the handler's own transaction, which saves a round trip. While PostgreSQL is away, such a
 * key is still believed on routes that are served then (ROUTE_STORE_AWAY). Keys are never logged. */
#include <stdbool.h>
#include <stddef.h>

#include "server/admin/request/request.h"

#define AUTH_KEY_LENGTH    (6 + 8 + 1 + 43)
#define AUTH_PREFIX_LENGTH 8
#define AUTH_HASH_BYTES    32
#define AUTH_MEMORY_MS     600000
#define AUTH_MEMORY_KEYS   1024
#define AUTH_TOUCH_MS      60000 /* last_used_at is renewed at most this often */

struct auth;

struct auth *auth_new(void);
void auth_free(struct auth *auth);

/* Makes a new key, NUL-terminated, and the hash to store. */
void auth_make_key(char key[AUTH_KEY_LENGTH + 1], unsigned char hash[AUTH_HASH_BYTES]);

/* The visible part of a new key, NUL-terminated; and a key of that part and 32 secret bytes. */
void auth_make_prefix(char prefix[AUTH_PREFIX_LENGTH + 1]);
void auth_build_key(const char prefix[AUTH_PREFIX_LENGTH + 1], const unsigned char secret[32],
                    char key[AUTH_KEY_LENGTH + 1], unsigned char hash[AUTH_HASH_BYTES]);

/* The hash of a key; false if it cannot be one. */
bool auth_hash_key(const char *key, size_t length, unsigned char hash[AUTH_HASH_BYTES]);

/* "admin", "write", "read", "conversions"; SCOPE_NONE for other names. */
enum scope auth_scope(const char *name);

/* The statement that confirms a remembered key: it fails if the key is not good any more. $1 hash. */
extern const struct statement auth_guard;

/* Forgets the key of a request whose guard failed, and answers 401. Ends the request. */
void auth_refuse_guarded(struct request *request);

/* Finds out whose request it is. Calls `next` with request->key filled if the key is good and its
 * scope suffices for request->route; else answers 401, 403 or 503 and ends the request. */
void auth_request(struct request *request, void (*next)(struct request *request));
