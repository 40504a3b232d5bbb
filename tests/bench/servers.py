"""The servers that are compared, each with one serving process and all of its processes on one
core: nginx from a map without a log, with a JSON log, with Lua and Redis; the floor; Kudos."""

import os
import subprocess

from support import process
from support.http import request
from support.service import FAST, default_binary
from support.session import free_port, session
from support.stack import Stack
from support.stores import Redis
from support.wait import wait_until

BUILD = os.path.dirname(default_binary())
DESTINATION = "https://shop.example.com/p/%s?from=kudos"
SERVER_CORE, CLIENT_CORE = 0, min(1, (os.cpu_count() or 1) - 1)

HEAD = """
worker_processes 1;
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 12000; }}
"""

COMMON = """
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    server_tokens off;
"""

MAP = HEAD + """
http {{
    map_hash_max_size 65536;
    map_hash_bucket_size 128;
    map $uri $target {{ default ""; include {folder}/map.conf; }}
    log_format clicks escape=json '{{"time":"$msec","id":"$request_id","host":"$host","uri":"$uri",'
        '"status":$status,"address":"$remote_addr","agent":"$http_user_agent",'
        '"referrer":"$http_referer","language":"$http_accept_language","to":"$target"}}';
    access_log {log};
""" + COMMON + """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        if ($target = "") {{ return 404; }}
        return 302 $target;
    }}
}}
"""

# What a tracker in front of Redis does: the destination first, then the counters and the event in
# one pipeline, on connections that stay.
LUA = """
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
""" + HEAD + """
http {{
    access_log off;
    lua_package_path "/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua;;";
""" + COMMON + """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            content_by_lua_block {{
                local client = require("nginx.redis"):new()
                client:set_timeout(1000)
                if not client:connect("unix:{redis}") then return ngx.exit(503) end
                local slug = string.sub(ngx.var.uri, 2)
                local target = client:get("link:" .. slug)
                if not target or target == ngx.null then return ngx.exit(404) end
                local agent = ngx.var.http_user_agent or ""
                client:init_pipeline()
                client:incr("clicks:" .. slug)
                client:pfadd("visitors:" .. slug, ngx.var.remote_addr .. agent)
                client:xadd("events", "MAXLEN", "~", "1000000", "*", "slug", slug, "time",
                    ngx.now(), "agent", agent, "referrer", ngx.var.http_referer or "",
                    "language", ngx.var.http_accept_language or "")
                client:commit_pipeline()
                client:set_keepalive(60000, 128)
                return ngx.redirect(target, 302)
            }}
        }}
    }}
}}
"""


def pinned(core, function, *arguments):
    """Calls it on one core; what it starts stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        return function(*arguments)
    finally:
        os.sched_setaffinity(0, before)


class Server:
    """One of them. `clicks` is True if it records what it answers."""

    name, port = "", 0

    def pids(self):
        """Processes by part: {part: [pid, …]}."""
        raise NotImplementedError

    def cpu(self):
        """Seconds of processor used so far, by part."""
        return {part: sum(map(process.cpu_seconds, pids)) for part, pids in self.pids().items()}

    def memory_mib(self):
        """Private memory of all its processes."""
        pids = sum(self.pids().values(), [])
        return sum(map(process.rss_anon_kib, pids)) / 1024

    def settle(self):
        """Waits until nothing is left to do for what has been answered."""

    def stop(self):
        """Ends it."""


class Nginx(Server):
    """One nginx with one worker."""

    def __init__(self, name, links, log="off", config=MAP, **values):
        self.name, self.port = name, free_port()
        folder = session().folder("nginx")
        with open(os.path.join(folder, "map.conf"), "w", encoding="utf-8") as file:
            file.writelines(f"/n{n} '{DESTINATION % n}';\n" for n in range(1, links + 1))
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(config.format(folder=folder, port=self.port, log=log.format(folder=folder),
                                     user="user root;" if os.getuid() == 0 else "", **values))
        self.master = subprocess.Popen(["nginx", "-c", path, "-p", folder], cwd=folder,
                                       stderr=subprocess.DEVNULL)
        wait_until(lambda: request(self.port, path="/n1").status == 302, 10, f"{name} answers")

    def pids(self):
        return {"nginx": process.children(self.master.pid)}

    def stop(self):
        self.master.terminate()
        self.master.wait(10)


class NginxLua(Nginx):
    """nginx that asks and tells a Redis of its own on every request."""

    def __init__(self, name, links):
        folder = session().folder("redis")
        self.redis = Redis(folder, {"unixsocketperm": "777"})
        self.redis.start()
        client = self.redis.client()
        client.mset({f"link:n{n}": DESTINATION % n for n in range(1, links + 1)})
        super().__init__(name, links, config=LUA, redis=self.redis.socket)

    def pids(self):
        return {**super().pids(), "redis": [self.redis.pid]}

    def stop(self):
        super().stop()
        self.redis.kill()


class Floor(Server):
    """recv and send, and nothing else (floor.c)."""

    def __init__(self, name):
        self.name, self.port = name, free_port()
        self.process = subprocess.Popen([os.path.join(BUILD, "bench_floor"), str(self.port)],
                                        cwd=session().path)
        wait_until(lambda: request(self.port, path="/").status == 302, 10, "the floor answers")

    def pids(self):
        return {"floor": [self.process.pid]}

    def stop(self):
        self.process.kill()
        self.process.wait(10)


class Kudos(Server):
    """A whole Kudos as in production, but for its one redirect process."""

    def __init__(self, name="Kudos", links=0, start=True, **settings):
        self.name = name
        defaults = {setting: None for setting in FAST}
        self.stack = Stack("bench", durable=True, postgres_settings={"shared_buffers": "128MB"},
                           settings={**defaults, "workers": 1, **settings}).start(serve=start)
        self.service = self.stack.kudos
        self.port = self.service.port
        if links:
            self.stack.add_links(links, destination=DESTINATION)

    def pids(self):
        found = {"supervisor": [self.service.pid], "redis": [self.stack.redis.pid],
                 "postgres": self.stack.postgres.pids()}
        for pid in self.service.pids():
            found.setdefault(process.comm(pid).replace("kudos-", ""), []).append(pid)
        return found

    def cpu(self):
        """As above; what ended processes of PostgreSQL used counts too."""
        used = super().cpu()
        main = self.stack.postgres.pid
        used["postgres"] += process.cpu_seconds_with_ended(main) - process.cpu_seconds(main)
        return used

    def stored(self):
        """Clicks that flush has stored."""
        return int(self.stack.postgres.value(
            "select coalesce(sum(applied), 0) from kudos.watermarks"))

    def settle(self, interval=0.5):
        # asking costs PostgreSQL a new process each time: seldom, or it would be in the figures
        wait_until(lambda: self.stored() == self.service.metric("clicks_total"), 600,
                   lambda: f"{self.stored()} stored of {self.service.metric('clicks_total')}",
                   interval=interval)

    def stop(self):
        self.stack.close()
