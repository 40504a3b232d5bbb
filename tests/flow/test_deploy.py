"""deploy/: what operators run and copy."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import psycopg2
import pytest
import redis as redis_client

from support import process
from support.http import BROWSER, request
from support.service import ROOT, default_binary
from support.session import free_port, session
from support.wait import wait_until

DEPLOY = pathlib.Path(ROOT, "deploy")
CLEAN = {"PATH": os.environ["PATH"], "HOME": "/"}


def run(*command, status=0, env=None, timeout=120):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
                          env={**CLEAN, **(env or {})}, timeout=timeout, check=False)
    assert done.returncode == status, done.stdout
    return done.stdout


def read_env(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: value.strip("'") for name, value in (line.split("=", 1) for line in lines)}


@pytest.fixture
def folder():
    """A folder for a deploy/stack, which is down when the test is over."""
    made = pathlib.Path(session().folder("deploy"), "it")
    yield made
    run(DEPLOY / "stack", "down", made)


def test_sample_settings_are_current():
    printed = run(default_binary(), "settings")
    assert (DEPLOY / "kudos.conf.sample").read_text(encoding="utf-8") == printed, \
        "make settings-sample"
    assert run(default_binary(), "-c", DEPLOY / "kudos.conf.sample", "settings") == printed


def test_operators_find_metrics_and_settings_that_exist(stack):
    """Every kudos_… metric and every `setting` that the pages name."""
    metrics = request(stack.kudos.admin_port, path="/metrics").text
    settings = set(re.findall(r"^(\w+) = ", run(default_binary(), "settings"), re.MULTILINE))
    others = {"kudos_analyst", "kudos_id", "kudos_public", "kudos_admin", "kudos_hooks"}
    for page in ("README.md", "BACKUP.md", "nginx-tls.conf.example"):
        text = (DEPLOY / page).read_text(encoding="utf-8")
        for name in set(re.findall(r"\bkudos_[a-z_]+", text)) - others:
            assert f"# TYPE {name} " in metrics, f"{page}: {name}"
        for name in re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE):
            assert name in settings | {"secret_file"}, f"{page}: {name}"


def test_nothing_is_missing_and_bad_use_is_refused():
    assert run(DEPLOY / "install-deps", "-n", "build", "run", "test") == ""
    assert "unknown group 'everything'" in run(DEPLOY / "install-deps", "everything", status=1)
    assert "usage:" in run(DEPLOY / "stack", status=2)
    assert "usage:" in run(DEPLOY / "stack", "sideways", "/tmp", status=2)
    assert "PORT must be a number" in run(DEPLOY / "run", session().folder("r"), status=1,
                                          env={"PORT": "http"})


def test_stack_comes_up_again_with_its_data(folder):
    run(DEPLOY / "stack", "up", folder)
    env = read_env(folder / "env")
    redis = redis_client.Redis(unix_socket_path=env["KUDOS_REDIS_URL"][len("unix:"):])
    assert redis.config_get("appendonly", "appendfsync", "maxmemory-policy", "port") == {
        "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction",
        "port": "0"}
    redis.set("kept", "yes")
    with psycopg2.connect(env["KUDOS_DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("select setting from pg_settings where name in"
                       " ('fsync', 'synchronous_commit', 'full_page_writes')")
        assert cursor.fetchall() == [("on",)] * 3
        cursor.execute("show listen_addresses")
        assert cursor.fetchone() == ("",)
        cursor.execute("create table kept as select 1")
    connection.close()
    before = redis.info()["process_id"]
    run(DEPLOY / "stack", "up", folder)
    assert redis.info()["process_id"] == before
    run(DEPLOY / "stack", "down", folder)
    assert run(DEPLOY / "stack", "status", folder, status=1) == "redis down\npostgres down\n"
    run(DEPLOY / "stack", "up", folder)
    assert run(DEPLOY / "stack", "status", folder) == "redis up\npostgres up\n"
    assert redis.get("kept") == b"yes"
    connection = psycopg2.connect(env["KUDOS_DATABASE_URL"])
    with connection.cursor() as cursor:
        cursor.execute("select * from kept")
        assert cursor.fetchone() == (1,)
    connection.close()


def test_stack_survives_kill_and_restarts_what_is_missing(folder):
    run(DEPLOY / "stack", "up", folder)
    postmaster = int((folder / "stores/postgres/postmaster.pid").read_text().split()[0])
    redis = int((folder / "stores/redis.pid").read_text())
    process.kill(postmaster)
    run(DEPLOY / "stack", "up", folder)
    assert process.alive(redis)
    process.kill(redis)
    run(DEPLOY / "stack", "up", folder)
    assert run(DEPLOY / "stack", "status", folder) == "redis up\npostgres up\n"


def test_stack_under_a_long_name_with_spaces(folder):
    long = folder / ("a name with spaces, " * 6)
    run(DEPLOY / "stack", "up", long)
    env = read_env(long / "env")
    assert len(env["KUDOS_REDIS_URL"]) - len("unix:") <= 107
    psycopg2.connect(env["KUDOS_DATABASE_URL"]).close()
    run(DEPLOY / "stack", "down", long)
    shutil.rmtree(os.path.dirname(env["KUDOS_REDIS_URL"][len("unix:"):]))


@pytest.mark.skipif(os.getuid() != 0, reason="only root has folders that others cannot enter")
def test_stack_where_the_ordinary_user_cannot_go(folder):
    folder.mkdir(mode=0o700)
    hidden = folder / "hidden"
    run(DEPLOY / "stack", "up", hidden)
    stores = os.readlink(hidden / "stores")
    assert stores.startswith("/var/tmp/")
    psycopg2.connect(read_env(hidden / "env")["KUDOS_DATABASE_URL"]).close()
    run(DEPLOY / "stack", "down", hidden)
    shutil.rmtree(stores)


def heed_ctrl_c():
    """A shell that runs the tests in the background ignores SIGINT, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """deploy/run in the background."""

    def __init__(self, folder, port):
        self.folder, self.port, self.begin = folder, port, time.monotonic()
        self.log = open(f"{folder}.log", "w+b")
        self.process = subprocess.Popen(
            [DEPLOY / "run", folder], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env={**CLEAN, "PORT": str(port), "KUDOS_BIN": default_binary()},
            start_new_session=True, preexec_fn=heed_ctrl_c)

    def output(self):
        self.log.seek(0)
        return self.log.read().decode()

    def wait_ready(self):
        wait_until(lambda: self.process.poll() is not None or "Kudos is ready" in self.output(),
                   60, lambda: f"ready; said:\n{self.output()}")
        assert self.process.poll() is None, self.output()
        return time.monotonic() - self.begin

    def end(self, number):
        os.killpg(self.process.pid, number)
        assert self.process.wait(60) == 0, self.output()
        assert "redis down" in run(DEPLOY / "stack", "status", self.folder, status=1)


@pytest.fixture
def start(folder):
    """start(port) → Running; ended at the end."""
    running = []

    def begin(port):
        running.append(Running(folder, port))
        return running[-1]

    yield begin
    for each in running:
        if each.process.poll() is None:
            each.process.send_signal(signal.SIGTERM)
            each.process.wait(60)
        each.log.close()


def three_ports():
    """The first of three that follow each other and are free."""
    while True:
        first = free_port()
        try:
            for port in (first + 1, first + 2):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


def find(pattern, text):
    found = re.search(pattern, text)
    assert found, text
    return found[1]


def test_run_shows_what_to_try_and_keeps_the_data(start):
    port = three_ports()
    first = start(port)
    first.wait_ready()
    output = first.output()
    link = find(r"link to click +http://127\.0\.0\.1:\d+(/\S+)", output)
    assert request(port, path=link, headers=BROWSER).status == 302
    made = subprocess.run(find(r"(?s)  (curl .*?\}')\n", output), shell=True, check=True,
                          stdout=subprocess.PIPE, encoding="utf-8").stdout
    assert '"short_url"' in made
    look = find(r"  (psql .*)", output)

    def rows():
        return subprocess.run(f"{look} -At", shell=True, check=True, stdout=subprocess.PIPE,
                              encoding="utf-8").stdout.splitlines()
    wait_until(lambda: len(rows()) == 1, 20, "the click is shown")
    prove = find(r"  (\(set -a; .*\))", output)
    subprocess.run(prove, shell=True, check=True, stdout=subprocess.DEVNULL)
    first.end(signal.SIGINT)

    second = start(port)
    assert second.wait_ready() < 20
    assert find(r"API key +(\S+)", second.output()) == find(r"API key +(\S+)", output)
    assert len(rows()) == 1
    second.end(signal.SIGTERM)


def test_run_says_when_a_port_is_taken(start):
    port = three_ports()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        running = start(port)
        assert running.process.wait(60) == 1
    assert "make run PORT=" in running.output()
    assert "redis down" in run(DEPLOY / "stack", "status", running.folder, status=1)


def test_run_twice_at_once_leaves_the_first_alone(start):
    port = three_ports()
    first = start(port)
    first.wait_ready()
    second = start(three_ports())
    assert second.process.wait(30) == 1
    assert "another deploy/run" in second.output()
    assert request(port + 1, path="/readyz").status == 200
    first.end(signal.SIGTERM)


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_example(make_stack):
    """The example, without TLS: nginx takes it, and both planes are behind it."""
    stack = make_stack(settings={"trusted_proxies": "127.0.0.1/32"}).start()
    slug = stack.add_link()
    example = (DEPLOY / "nginx-tls.conf.example").read_text(encoding="utf-8")
    port = free_port()
    example = re.sub(r"(?m)^ *(ssl_|error_log|listen \[).*$", "", example)
    example = example.replace("listen 443 ssl http2", f"listen 127.0.0.1:{port}")
    example = example.replace("listen 80", f"listen 127.0.0.1:{port}")
    example = example.replace("127.0.0.1:8080", f"127.0.0.1:{stack.kudos.port}")
    example = example.replace("127.0.0.1:8081", f"127.0.0.1:{stack.kudos.admin_port}")
    where = session().folder("nginx")
    config = pathlib.Path(where, "nginx.conf")
    config.write_text(f"daemon off; pid {where}/pid; error_log {where}/error.log; events {{}}\n"
                      f"http {{ {example} }}\n", encoding="utf-8")
    nginx = subprocess.Popen(["nginx", "-c", config, "-p", where], cwd=where,
                             stderr=subprocess.DEVNULL)
    try:
        def asked(host, path):
            return request(port, path=path, headers={**BROWSER, "Host": host})
        answer = wait_until(lambda: asked("go.example.com", f"/{slug}"), 10, "nginx answers")
        assert answer.status == 302, answer
        assert asked("kudos-admin.example.com", "/v1/openapi.json").status in (200, 401, 404)
        assert asked("kudos-admin.example.com", "/metrics").status == 403
    finally:
        nginx.terminate()
        nginx.wait(10)
