#pragma once
/* Making workspaces and keys from the command line, over a blocking session. */
#include <libpq-fe.h>
#include <stdint.h>

#include "server/admin/request/auth.h"
#include "shared/error.h"

/* The id of the workspace `name`; 0 with the reason. */
int64_t keys_find_workspace(PGconn *connection, const char *name, struct error *error);

/* Makes a key and stores its hash. False with the reason. */
bool keys_create(PGconn *connection, int64_t workspace, const char *scope, const char *name,
                 char key[AUTH_KEY_LENGTH + 1], struct error *error) MUST_CHECK;
