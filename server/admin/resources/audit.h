#pragma once
/* The audit log: what was changed over HTTP, when, and with which key. Every row is written by the
 * statement that makes the change (fields_sql.c), so that neither is there without the other. */
#include "server/admin/fields/fields.h"

extern struct resource audit_resource;
