"""Writes small MMDB files in MaxMind's layout, IPv4 only, for tests that need a place."""

import ipaddress
import struct

MARKER = b"\xab\xcd\xefMaxMind.com"


def encode(value):
    """A value of the data section: dict, list, str, int (32 bits), or (bits, int)."""
    if isinstance(value, dict):
        body = b"".join(encode(key) + encode(each) for key, each in value.items())
        return control(7, len(value)) + body
    if isinstance(value, list):
        return bytes([len(value), 4]) + b"".join(map(encode, value))
    if isinstance(value, str):
        raw = value.encode()
        return control(2, len(raw)) + raw
    bits, number = value if isinstance(value, tuple) else (32, value)
    raw = number.to_bytes(8, "big").lstrip(b"\0")
    if bits == 64:
        return bytes([len(raw), 2]) + raw
    return control({16: 5, 32: 6}[bits], len(raw)) + raw


def control(kind, size):
    """The byte that begins a value."""
    assert size < 29
    return bytes([kind << 5 | size])


def city(country, region=None, name=None):
    """A record as GeoLite2-City has it."""
    record = {"country": {"iso_code": country}}
    if region:
        record["subdivisions"] = [{"iso_code": region}]
    if name:
        record["city"] = {"names": {"en": name}}
    return record


def write(path, networks, kind="GeoLite2-City"):
    """Writes {"203.0.113.0/24": record, …}; networks must not overlap."""
    nodes, data = [[None, None]], b""
    for network, record in networks.items():
        network, at = ipaddress.IPv4Network(network), 0
        for depth in range(network.prefixlen):
            bit = int(network.network_address) >> (31 - depth) & 1
            if depth == network.prefixlen - 1:
                nodes[at][bit] = ("data", len(data))
            else:
                if nodes[at][bit] is None:
                    nodes.append([None, None])
                    nodes[at][bit] = len(nodes) - 1
                at = nodes[at][bit]
        data += encode(record)

    def number(side):
        if side is None:
            return len(nodes)
        return len(nodes) + 16 + side[1] if isinstance(side, tuple) else side
    tree = b"".join(struct.pack(">II", number(left), number(right)) for left, right in nodes)
    about = {"node_count": len(nodes), "record_size": (16, 32), "ip_version": (16, 4),
             "database_type": kind, "description": {"en": "for tests"},
             "binary_format_major_version": (16, 2), "binary_format_minor_version": (16, 0),
             "build_epoch": (64, 1700000000), "languages": ["en"]}
    with open(path, "wb") as file:
        file.write(tree + b"\0" * 16 + data + MARKER + encode(about))
    return path
