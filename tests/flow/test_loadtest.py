"""kudos-loadtest against a real service: it says PASS when all is there, FAIL with the ids when
not, shows a stall for every request that was due in it, and stays on this machine."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import xml.etree.ElementTree

import pytest

from support.service import default_binary
from support.session import free_port
from support.wait import wait_until

STACK = {"settings": {"trusted_proxies": "127.0.0.1"}}
BINARY = os.path.join(os.path.dirname(default_binary()), "kudos-loadtest")
LINKS = 50


def load(*arguments, timeout=60):
    """Runs it to its end."""
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, timeout=timeout,
                          check=False, encoding="utf-8", stdin=subprocess.DEVNULL)


@pytest.fixture(name="clicking", scope="module")
def _clicking(stack):
    """Arguments that load the stack's links and verify."""
    path = os.path.join(stack.folder, "links")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(stack.add_links(LINKS)) + "\n")
    return ("--target", f"http://127.0.0.1:{stack.kudos.port}", "--links", path, "--quiet",
            "--database", stack.postgres.url)


def test_all_is_counted(stack, clicking):
    before = stack.rows()
    done = load(*clicking, "--rate", 2000, "--duration", 1, "--connections", 8, "--processes", 2,
                "--verify", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["verify"]["pass"] and not found["verify"]["faults"]
    assert found["verify"]["ids"] == found["verify"]["stored"] == found["statuses"]["302"]
    assert found["verify"]["links"] > LINKS / 2 and found["verify"]["wrong_totals"] == 0
    assert 1500 < found["sent"] < 2500 and found["answered"] == found["sent"]
    assert found["errors"] == dict.fromkeys(found["errors"], 0)
    assert found["ids"]["with_id"] == found["ids"]["kept"]
    assert stack.rows() - before >= found["verify"]["stored"]
    stack.assert_consistent()


def test_traffic_is_as_it_is_told(stack, clicking):
    """Persons and bots, and several countries' languages; the most popular link is the first."""
    stack.postgres.sql("create table if not exists public.mark as select now() as at")
    stack.postgres.sql("update public.mark set at = now()")
    done = load(*clicking, "--rate", 2000, "--duration", 1, "--bots", 0.5, "--verify",
                "--new-connection", 0.2, "--keepalive", 0.7, "--zipf", 1.2)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "PASS" in done.stdout
    rows = stack.postgres.sql(
        "select slug, verdict::text, language, app from kudos.clicks c join kudos.links l"
        " on l.id = c.link_id where time >= (select at from public.mark)")
    slugs = [row[0] for row in rows]
    assert max(set(slugs), key=slugs.count) == "n1"
    humans = sum(row[1] == "human" for row in rows) / len(rows)
    assert 0.3 < humans < 0.7
    assert len({row[2] for row in rows}) > 8
    assert {"Instagram", "TikTok"} <= {row[3] for row in rows}
    connections = int(re.search(r"(\d+) connections", done.stdout)[1])
    assert connections > len(rows) / 4


def test_closed_loop_and_pipelining(clicking):
    done = load(*clicking, "--closed", "--duration", 0.5, "--connections", 4, "--pipeline", 8,
                "--verify", "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["verify"]["pass"] and found["answered"] == found["sent"] > 100
    assert found["connections"] == 4


def test_more_ids_than_it_keeps(stack, clicking, tmp_path):
    done = load(*clicking, "--rate", 2000, "--duration", 0.5, "--ids-max", 100, "--verify",
                "--json", "--ids", tmp_path / "ids")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["verify"]["ids"] == found["ids"]["kept"] == 100
    assert found["ids"]["with_id"] > 500 and found["verify"]["wrong_totals"] == 0
    assert len((tmp_path / "ids").read_text().splitlines()) == 100
    assert "found once 100," in stack.kudos.run("verify", "--clicks", tmp_path / "ids").stdout


@pytest.fixture(name="selling")
def _selling(stack, clicking, tmp_path):
    """Arguments that let a tenth of the clicks of people sell something, told by a source."""
    made = stack.kudos.admin("POST", "/v1/sources", {"kind": "postback", "name": f"shop {tmp_path}"})
    (tmp_path / "token").write_text(made.json()["token"] + "\n")
    (tmp_path / "codes").write_text("NOBODYS20\n")
    return (*clicking, "--rate", 1000, "--duration", 1, "--processes", 2, "--sales", 0.1,
            "--sale-delay", 0.2, "--token-file", tmp_path / "token", "--codes", tmp_path / "codes",
            "--by-code", 0.2, "--orders", f"o{time.monotonic_ns()}", "--verify", "--json")


def test_sales_follow_clicks(stack, selling):
    done = load(*selling)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    sales = found["verify"]["sales"]
    assert found["verify"]["pass"] and not sales["faults"]
    assert 30 < found["sales"]["told"] == found["sales"]["taken"] == sales["told"] == sales["stored"]
    assert sales["told_minor"] == sales["stored_minor"] == stack.postgres.value(
        "select sum(amount_minor)::bigint from report.conversions where order_id like %s",
        selling[selling.index("--orders") + 1] + "-%")
    assert sales["unattributed"] > 0 and sales["unverified"] == sales["wrong"] == 0
    assert found["verify"]["ids"] == found["statuses"]["302"]  # sales are no clicks


def test_a_sale_stored_with_another_amount_fails(stack, selling):
    order = selling[selling.index("--orders") + 1] + "-0-0"
    stack.postgres.sql("create function public.meddle_sale() returns trigger language plpgsql as $$"
                       " begin new.amount_minor := new.amount_minor + 1; return new; end $$")
    stack.postgres.sql("create trigger meddle before insert on kudos.conversions for each row"
                       f" when (new.order_id = '{order}') execute function public.meddle_sale()")
    try:
        done = load(*selling)
    finally:
        stack.postgres.sql("drop trigger meddle on kudos.conversions;"
                           " drop function public.meddle_sale()")
    assert done.returncode == 1
    sales = json.loads(done.stdout)["verify"]["sales"]
    assert sales["wrong"] == 1 and sales["missing"] == 0
    assert sales["stored_minor"] == sales["told_minor"] + 1
    assert f"order {order}: " in sales["faults"][0]


def test_unsigned_sales_are_told_apart(clicking):
    done = load(*clicking, "--rate", 500, "--duration", 0.5, "--sales", 0.2, "--sale-delay", 0,
                "--verify")
    assert done.returncode == 0, done.stderr + done.stdout
    told = int(re.search(r"sales +(\d+) told", done.stdout)[1])
    assert told > 5 and f"{told} unverified" in done.stdout and "PASS" in done.stdout


@pytest.fixture(name="meddle")
def _meddle(stack):
    """meddle(condition, action): a trigger on kudos.clicks, gone afterwards."""
    def meddle(condition, action):
        stack.postgres.sql(
            "create or replace function public.meddle() returns trigger language plpgsql as $$"
            f"begin {action}; end $$")
        stack.postgres.sql(f"create trigger meddle after insert on kudos.clicks for each row"
                           f" when ({condition}) execute function public.meddle()")
    yield meddle
    stack.postgres.sql("drop trigger if exists meddle on kudos.clicks")


def test_a_missing_row_fails(stack, clicking, meddle, tmp_path):
    meddle("new.seq % 100 = 7",
           "delete from kudos.clicks where origin = new.origin and seq = new.seq; return null")
    done = load(*clicking, "--rate", 1000, "--duration", 0.5, "--bots", 0, "--verify",
                "--verify-wait-s", 1, "--ids", tmp_path / "ids")
    assert done.returncode == 1, done.stderr + done.stdout
    assert done.stdout.rstrip().endswith("FAIL")
    listed = re.findall(r"^  missing (\S{64})$", done.stdout, re.MULTILINE)
    assert listed and set(listed) <= set((tmp_path / "ids").read_text().split())
    assert stack.missing_and_doubled(listed) == (len(listed), 0)
    # the link's total says so too
    assert re.search(r"^  link \d+: \d+ ids, 0 requests that brought none, \d+ rows$", done.stdout,
                     re.MULTILINE)


def test_a_doubled_row_fails(stack, clicking, meddle):
    meddle("new.seq % 100 = 7 and pg_trigger_depth() = 0",
           "insert into kudos.clicks select new.*; return null")
    done = load(*clicking, "--rate", 1000, "--duration", 0.5, "--bots", 0, "--verify", "--json")
    assert done.returncode == 1, done.stderr + done.stdout
    found = json.loads(done.stdout)["verify"]
    assert not found["pass"] and found["twice"] > 0 and found["missing"] == 0
    listed = [fault.split()[1] for fault in found["faults"] if fault.startswith("twice ")]
    assert stack.missing_and_doubled(listed) == (0, len(listed))


def test_ids_that_are_elsewhere(stack, tmp_path):
    """A link that carries its id in the path for some visitors: no total is called wrong."""
    stack.kudos.create_link("https://example.com/a", slug="mixed", rules=[
        {"if": {"device": ["smartphone"]},
         "then": {"destination": "https://example.com/{click_id}"}}])
    (tmp_path / "links").write_text("mixed\n")
    done = load("--target", f"http://127.0.0.1:{stack.kudos.port}", "--links", tmp_path / "links",
                "--quiet", "--rate", 500, "--duration", 0.5, "--json", "--verify", "--database",
                stack.postgres.url)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["ids"]["without_id"] > 50 and found["ids"]["with_id"] > 20
    assert found["verify"]["others_stored"] > 50


def test_links_of_the_admin_plane(stack, tmp_path):
    stack.kudos.create_link("https://example.com/a", slug="admin-a")
    key = tmp_path / "key"
    key.write_text(stack.kudos.key() + "\n")
    arguments = ("--target", f"http://127.0.0.1:{stack.kudos.port}", "--admin",
                 f"http://127.0.0.1:{stack.kudos.admin_port}", "--key-file", key, "--quiet")
    done = load(*arguments, "--rate", 500, "--duration", 0.5, "--json", "--verify", "--database",
                stack.postgres.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verify"]["links"] >= 10
    key.write_text("kudos_wrong\n")
    done = load(*arguments)
    assert done.returncode == 2 and "401: is the key right?" in done.stderr


def test_a_stall_shows_in_intended_times_only(stack, clicking, tmp_path):
    table = tmp_path / "histogram.csv"
    arguments = [word for word in clicking if word != "--quiet"]
    command = [BINARY, *arguments, "--rate", "500", "--duration", "4", "--connections", "4",
               "--arrivals", "constant", "--timeout-ms", "20000", "--histogram", str(table),
               "--plot", str(tmp_path / "plot.svg"), "--verify"]
    before = stack.kudos.metric("clicks_total")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding="utf-8") as process:
        try:
            wait_until(lambda: stack.kudos.metric("clicks_total") > before + 100, 20, "clicks come")
            stack.kudos.freeze("redirect")
            for line in process.stderr:  # until a progress line tells of a backlog
                if int((re.search(r"backlog (\d+)", line) or [0, 0])[1]) > 200:
                    break
        finally:
            stack.kudos.wake("redirect")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    with open(table, encoding="utf-8") as file:
        rows = [{name: int(value) for name, value in row.items()} for row in csv.DictReader(file)]
    intended = sum(row["intended"] for row in rows)
    assert intended == sum(row["sent"] for row in rows) == 2000
    slow = {name: sum(row[name] for row in rows if row["up_to_us"] > 150000)
            for name in ("intended", "sent")}
    assert slow["intended"] > 100 and slow["sent"] > 0  # the four that were out when it stalled
    assert slow["intended"] > 10 * slow["sent"]
    plot = xml.etree.ElementTree.parse(tmp_path / "plot.svg").getroot()
    assert len(plot.findall("{http://www.w3.org/2000/svg}polyline")) == 2


def test_the_service_dies_amid_the_load(stack, clicking):
    """What was answered is stored; what was stored and not answered is no fault."""
    before = stack.kudos.metric("clicks_total")
    with subprocess.Popen([BINARY, *clicking, "--rate", "2000", "--duration", "2", "--verify",
                           "--json"], stdout=subprocess.PIPE, encoding="utf-8") as process:
        wait_until(lambda: stack.kudos.metric("clicks_total") > before + 500, 20, "clicks come")
        stack.kudos.kill_role("redirect")
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    found = json.loads(output)
    assert found["verify"]["pass"] and found["verify"]["stored"] > 1000


def test_ends_early_when_told(stack, clicking):
    before = stack.kudos.metric("clicks_total")
    with subprocess.Popen([BINARY, *clicking, "--rate", "500", "--duration", "300", "--verify",
                           "--processes", "2"], stdout=subprocess.PIPE,
                          encoding="utf-8") as process:
        wait_until(lambda: stack.kudos.metric("clicks_total") > before + 100, 20, "clicks come")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "stopped before its time" in output and output.rstrip().endswith("PASS")


@pytest.mark.parametrize("arguments, reason", [
    (("--target", "http://192.0.2.1:8080"), "--remote-target http://192.0.2.1:8080"),
    (("--target", "http://0.0.0.0:8080"), "not on this machine"),
    (("--rate", "-1"), "a number from"),
    (("--fast",), "no option"),
])
def test_refuses(arguments, reason):
    done = load("--links", "/dev/null", *arguments)
    assert done.returncode == 2 and reason in done.stderr and not done.stdout


def test_bad_files(tmp_path):
    links = tmp_path / "links"
    links.write_text("fine\nnot fine\n")
    done = load("--links", links)
    assert done.returncode == 2 and f"{links}: line 2: \"not fine\" is no link" in done.stderr
    agents = tmp_path / "agents"
    agents.write_text("1\tperson\n")
    links.write_text("fine\n")
    done = load("--links", links, "--agents", agents)
    assert done.returncode == 2 and f"{agents}:1: wanted" in done.stderr


def test_lists_can_be_shown_and_given_back(clicking, tmp_path):
    for name in ("agents", "referrers", "countries"):
        shown = load("--show", name)
        assert shown.returncode == 0
        (tmp_path / name).write_text(shown.stdout)
    done = load(*clicking, "--rate", 200, "--duration", 0.2,
                *(word for name in ("agents", "referrers", "countries")
                  for word in (f"--{name}", tmp_path / name)))
    assert done.returncode == 0, done.stderr
    assert load("--show", "secrets").returncode == 2


class Listener(threading.Thread):
    """Accepts; answers each connection's first bytes with `answer`, or not at all."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer, self.socket = answer, socket.create_server(("127.0.0.1", 0))
        self.kept = []
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.kept.append(connection)
            if self.answer:
                connection.recv(65536)
                connection.sendall(self.answer)


@pytest.mark.parametrize("answer, counted", [(b"220 mail.example.com ESMTP\r\n\r\n", "broken"),
                                             (None, "timed_out")])
def test_no_service_there(tmp_path, answer, counted):
    (tmp_path / "links").write_text("x\n")
    listener = Listener(answer)
    try:
        done = load("--target", "http://127.0.0.1:%d" % listener.socket.getsockname()[1], "--links",
                    tmp_path / "links", "--rate", 100, "--duration", 0.3, "--timeout-ms", 200,
                    "--json", "--quiet")
    finally:
        listener.socket.close()
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["answered"] == 0 and found["errors"][counted] == found["sent"] > 5
    # what waited until it was given up is in the figures: silence is not fast
    assert (found["intended_us"]["count"] > 0) == (counted == "timed_out")


def test_nobody_listens(tmp_path):
    (tmp_path / "links").write_text("x\n")
    target = f"http://127.0.0.1:{free_port()}"
    for loop in (("--rate", 100), ("--closed",)):
        done = load("--target", target, "--links", tmp_path / "links", "--duration", 0.3, "--json",
                    "--quiet", *loop)
        assert done.returncode == 1, done.stderr
        found = json.loads(done.stdout)
        assert found["answered"] == 0 and found["errors"]["not_connected"] == found["sent"]
        assert 0 < found["sent"] < 1000  # no storm of attempts
