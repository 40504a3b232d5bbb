/* Skeleton until the role lands. */
#include "server/role.h"

int admin_run(struct role_context *context)
{
    (void)context;
    role_ready();
    while (role_sleep(60000, -1) != ROLE_STOP)
        continue;
    return 0;
}
