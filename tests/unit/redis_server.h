#pragma once
/* A private redis-server for unit tests, on a unix socket in a temporary folder. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct redis_server {
    pid_t pid;
    char folder[64];
    char socket[96];
    char url[128];
};

static inline bool redis_server_answers(const struct redis_server *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", server->socket);
    answers = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return answers;
}

/* Starts it (again, in the same folder) and waits until it listens. */
static inline bool redis_server_launch(struct redis_server *server)
{
    server->pid = fork();
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing outlives a test that was killed */
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->socket,
               "--dir", server->folder, "--save", "", "--appendonly", "no", "--logfile",
               "redis.log", "--enable-debug-command", "yes", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000; i++) {
        if (redis_server_answers(server))
            return true;
        usleep(10000);
    }
    return false;
}

static inline bool redis_server_start(struct redis_server *server)
{
    snprintf(server->folder, sizeof server->folder, "/tmp/kudos-redis-XXXXXX");
    if (!mkdtemp(server->folder))
        return false;
    snprintf(server->socket, sizeof server->socket, "%s/socket", server->folder);
    snprintf(server->url, sizeof server->url, "unix:%s", server->socket);
    return redis_server_launch(server);
}

static inline void redis_server_kill(struct redis_server *server)
{
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    unlink(server->socket);
}

static inline void redis_server_stop(struct redis_server *server)
{
    char command[128];

    redis_server_kill(server);
    snprintf(command, sizeof command, "rm -rf %s", server->folder);
    if (system(command) != 0)
        perror(command);
}
