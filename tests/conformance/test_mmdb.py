"""Countries, regions and cities from MMDB files, and files that are damaged."""

import itertools

import pytest

from support.explain import corpus, explain, rows


def wanted(row):
    return (row["country"], row.get("subdivision1"), row.get("city_en"))


def found(row, answer):
    return (
        answer["country"],
        answer["region"] if "subdivision1" in row else None,
        answer["city"] if "city_en" in row else None,
    )


def test_every_expected_record_is_found():
    ordered = sorted(rows("mmdb/expected.jsonl"), key=lambda row: row["db"])
    for name, group in itertools.groupby(ordered, key=lambda row: row["db"]):
        group = list(group)
        answers = explain([{"ip": row["ip"]} for row in group], "--geoip-city", corpus(f"mmdb/{name}"))
        wrong = [
            (row["ip"], found(row, answer), wanted(row))
            for row, answer in zip(group, answers)
            if found(row, answer) != wanted(row)
        ]
        print(f"{name}: {len(group) - len(wrong)} of {len(group)}")
        assert not wrong, (name, len(wrong), wrong[:5])


ADDRESSES = ["1.1.1.1", "2.125.160.216", "81.2.69.142", "0.0.0.0", "255.255.255.255", "::", "2001:218::",
             "::1.1.1.1", "ffff::", "::ffff:1.1.1.1"]


def bad_files():
    """Names only: collected before CORPUS is looked at."""
    return ["libmaxminddb-deep-nesting.mmdb", "libmaxminddb-separator-record-min-left.mmdb",
            "libmaxminddb-deep-array-nesting.mmdb", "unexpected-bytes.mmdb",
            "libmaxminddb-separator-record-min-right.mmdb", "libmaxminddb-oversized-map.mmdb",
            "libmaxminddb-oversized-array.mmdb", "metadata-is-an-uint128.mmdb",
            "invalid-map-key-length.mmdb", "../GeoIP2-City-Test-Invalid-Node-Count.mmdb"]


@pytest.mark.parametrize("option", ["--geoip-city", "--geoip-asn"])
@pytest.mark.parametrize("name", bad_files())
def test_a_damaged_file_is_refused_or_answers_unknown(name, option):
    answers = explain([{"ip": ip} for ip in ADDRESSES], option, corpus("mmdb/bad/" + name))
    for answer in answers:
        assert "error" not in answer
        assert answer["city"] is None or isinstance(answer["city"], str)


def test_any_cut_of_a_good_file_is_harmless(tmp_path):
    whole = corpus("mmdb/GeoLite2-City-Test.mmdb").read_bytes()
    for size in [0, 1, 100, len(whole) // 3, len(whole) // 2, len(whole) - 100, len(whole) - 1]:
        cut = tmp_path / "cut.mmdb"
        cut.write_bytes(whole[:size])
        for answer in explain([{"ip": ip} for ip in ADDRESSES], "--geoip-city", cut):
            assert "error" not in answer
