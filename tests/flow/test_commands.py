"""Commands of operators, and the guide of the admin plane, whose shell blocks are run as they stand."""

import os
import re
import subprocess

from support.service import ROOT

DESTINATION = "https://example.com/"


def test_demo_can_be_repeated(stack):
    first = stack.kudos.run("demo").stdout
    assert first == stack.kudos.run("demo").stdout
    shown = dict(line.split("=", 1) for line in first.splitlines())
    stack.wait_live(shown["SHORT_URL"].rsplit("/", 1)[1])
    listed = stack.kudos.admin("GET", "/v1/links?campaign=spring-launch", key=shown["API_KEY"])
    assert len(listed.json()["items"]) == 3
    key_file = os.path.join(stack.kudos.settings["data_dir"], "demo-key")
    assert os.stat(key_file).st_mode & 0o777 == 0o600
    stack.postgres.sql("update kudos.api_keys set revoked_at = now() where name = 'demo'")
    renewed = dict(line.split("=", 1) for line in stack.kudos.run("demo").stdout.splitlines())
    assert renewed["API_KEY"] != shown["API_KEY"]
    assert stack.kudos.admin("GET", "/v1/links", key=renewed["API_KEY"]).status == 200


def test_commands_refuse_nonsense(stack):
    run = stack.kudos.run
    assert run("key", "create", check=False).returncode == 2
    assert run("key", "create", "--workspace", "default", "--scope", "root", "--name", "x",
               check=False).returncode == 2
    assert run("key", "create", "--workspace", "none", "--scope", "read", "--name", "x",
               check=False).returncode == 1
    assert run("workspace", "create", "default", check=False).returncode == 1
    assert run("workspace", "create", "", check=False).returncode == 2
    assert run("demo", "x", check=False).returncode == 2


def test_check(make_stack):
    stack = make_stack().start()
    done = stack.kudos.run("check")
    assert done.stdout and all(line.startswith("ok") for line in done.stdout.splitlines())
    stack.redis.client().config_set("maxmemory-policy", "allkeys-lru")
    done = stack.kudos.run("check", check=False)
    assert done.returncode == 1 and "BAD Redis maxmemory-policy" in done.stdout
    stack.redis.kill()
    stack.postgres.stop()
    done = stack.kudos.run("check", check=False)
    assert done.returncode == 1
    assert "BAD PostgreSQL" in done.stdout and "BAD Redis" in done.stdout


def test_the_guide_works(make_stack, tmp_path):
    """Runs every shell block of server/admin/README.md, in order, with errors on."""
    stack = make_stack().start()
    with open(os.path.join(ROOT, "server/admin/README.md"), encoding="utf-8") as file:
        blocks = re.findall(r"^```sh\n(.*?)^```", file.read(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6 and blocks[0].startswith("export ADMIN=")
    os.symlink(stack.kudos.binary, tmp_path / "kudos")
    first = stack.kudos.create_link(DESTINATION)["id"]
    script = "\n".join(["set -euo pipefail", "curl() { command curl --fail-with-body \"$@\"; echo; }",
                        *blocks[1:]])
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, encoding="utf-8", timeout=60, check=False,
        cwd=tmp_path, env={**stack.kudos.environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}",
             "ADMIN": f"http://127.0.0.1:{stack.kudos.admin_port}", "KEY": stack.kudos.key(),
             "LINK": str(first + 1)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"slug":"spring-anna"' in done.stdout and '"state":"archived"' in done.stdout
    for shown in ('"slug":"spring-launch"', '"handle":"anna"', '"code":"ANNA15"',
                  '"action":"update"', '"data_freshness":', '"remaining":'):
        assert shown in done.stdout, shown
    assert '"items":[' in done.stdout and '"stored":{"available":true' in done.stdout
