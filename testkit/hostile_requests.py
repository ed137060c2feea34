"""Requests that are almost valid: a structure-aware fuzzer for the REST front end.

A case starts as a valid request of one endpoint and is damaged one to three times: in a value, a
name, the nesting, the query, a header, the header of an .npy file, or the bytes. The cases of a
seed are the same on every run.
"""

import copy
import io
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

Json = Any

BODY_LIMIT_BYTES = 60_000
"""The size up to which damages enlarge a body."""


@dataclass
class HostileRequest:
    """A request as an HTTP server hands it to an application."""

    method: str
    path: str
    query: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    def scope(self) -> dict[str, Any]:
        """Return the ASGI scope of the request."""
        framing = [(b"transfer-encoding", b"chunked")] if self.body else []
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": self.method,
            "path": self.path,
            "raw_path": quote(self.path, errors="replace").encode(),
            "root_path": "",
            "query_string": self.query,
            "headers": [(b"host", b"localhost"), *framing, *self.headers],
            "client": ("127.0.0.1", 50000),
            "server": ("localhost", 8001),
            "state": {},
        }


class World(NamedTuple):
    """What the server under test serves, so that requests can be almost valid."""

    window: Sequence[float]
    """The numbers of a valid window."""
    shape: tuple[int, int]
    model: str
    version: str
    definition: dict[str, Json]
    """A valid definition of an experiment."""
    prediction_ids: Sequence[str]
    experiment_id: str


def hostile_requests(world: World, seed: int) -> Iterator[HostileRequest]:
    """Yield the cases of a seed, without end."""
    chance = random.Random(seed)
    builders = (
        _json_predict,
        _json_predict,
        _numbers_predict,
        _npy_predict,
        _batch,
        _series,
        _reload,
        _definition,
        _outcomes,
        _outcomes,
        _push,
        _bars,
        _path,
    )
    while True:
        request = chance.choice(builders)(world, chance)
        if chance.random() < 0.25:
            request.body = _damaged_bytes(request.body, chance)
        if chance.random() < 0.1:
            _damage_envelope(request, chance)
        yield request


# Values that applications have failed on: numbers beyond a type, characters that encoders or
# databases reject, nesting beyond recursion, the names of attributes, paths and templates.
NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-0",
    "1e-400",
    "0.1e+1",
    "1" * 400,
    "-" + "9" * 5000,
]
NUMBERS += [
    "18446744073709551616",
    "9223372036854775808",
    "1e308",
    "-1",
    "0",
    "2147483648",
    "01",
    "1.",
    "0x1",
]
TEXTS = [
    "",
    " ",
    "\\u0000",
    "a\\u0000b",
    "\\ud800",
    "\\udc00\\ud800",
    "\\u0001",
    "\\n[INFO] forged",
    "\\u202e",
]
TEXTS += [
    "a" * 65,
    "a" * 129,
    "a" * 5000,
    "\\\\",
    "../../etc/passwd",
    "%s%n",
    "${jndi:x}",
    "{0.__class__}",
]
TEXTS += [
    "production",
    "latest",
    "1.0.0",
    "1.0.0-" + "a" * 60,
    "\U0001f600",
    "'; DROP TABLE x;--",
    "<script>",
]
TEXTS += ["\\ufffe", "\u2028", "e\u0301", "NaN", "true", "[", "]}", '\\"', "\\x", "\\u12"]
LITERALS = [
    "null",
    "true",
    "false",
    "nul",
    "None",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    '{"a":{"b":[1]}}',
    "undefined",
]
NAMES = [
    "",
    "__class__",
    "__proto__",
    "symbol ",
    "Symbol",
    "features[]",
    "\\u0073ymbol",
    "\\ud800",
    "\\u0000",
]


class _Raw(str):
    """A piece of text that is inserted into JSON as it is."""


def _encode(value: Json, chance: random.Random) -> str:
    """Return JSON, with the raw pieces in it and sometimes with white space."""
    space = chance.choice(["", "", "", " ", "\n\t"])
    if isinstance(value, _Raw):
        return str(value)
    if isinstance(value, dict):
        members = [
            (str(name) if isinstance(name, _Raw) else json.dumps(name))
            + f"{space}:{space}{_encode(item, chance)}"
            for name, item in value.items()
        ]
        return "{" + f"{space},{space}".join(members) + space + "}"
    if isinstance(value, list):
        return "[" + f",{space}".join(_encode(item, chance) for item in value) + "]"
    return json.dumps(value)


def _json_request(path: str, document: Json, chance: random.Random) -> HostileRequest:
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        document = _damaged(document, chance)
    body = _encode(document, chance).encode("utf-8", "surrogatepass")
    headers = [(b"content-type", b"application/json")]
    return HostileRequest("POST", path, headers=headers, body=body)


def _hostile_value(chance: random.Random) -> Json:
    kind = chance.randrange(7)
    if kind == 0:
        return _Raw(chance.choice(NUMBERS))
    if kind <= 2:
        return _Raw('"' + chance.choice(TEXTS) + '"')
    if kind == 3:
        return _Raw(chance.choice(LITERALS))
    if kind == 4:
        opening, closing = chance.choice([("[", "]"), ('{"a":', "}")])
        depth = chance.choice([1, 5, 63, 64, 65, 200, 1025, 5000])
        return _Raw(opening * depth + "1" + closing * depth)
    if kind == 5:
        return [
            chance.choice([1, 1.5, None, "a", [], {}, True]) for _ in range(chance.randrange(9))
        ]
    return _Raw("[" + ",".join([chance.choice(NUMBERS[:9])] * chance.choice([1, 6, 500])) + "]")


def _damaged(document: Json, chance: random.Random) -> Json:
    """Return a document with one damage at a place chosen at random."""
    document = copy.deepcopy(document)
    places = list(_places(document))
    if not places or chance.random() < 0.03:
        return _hostile_value(chance)
    container, key = chance.choice(places[: 40 if chance.random() < 0.8 else None])
    kind = chance.randrange(8)
    if kind <= 3:
        container[key] = _hostile_value(chance)
    elif kind == 4:
        del container[key]
    elif isinstance(container, list):
        _damage_list(container, key, chance)
    else:
        _damage_members(container, key, chance)
    return document


def _damage_list(items: list[Json], index: int, chance: random.Random) -> None:
    item = items[index]
    size = max(len(_encode(item, chance)), 1)
    kind = chance.randrange(4)
    if kind == 0:
        items.extend([item] * min(chance.choice([1, 7, 2000]), BODY_LIMIT_BYTES // size))
    elif kind == 1:
        items[index] = [item]
    elif kind == 2:
        items.insert(index, _hostile_value(chance))
    else:
        items[:] = [items[:index], items[index:]]


def _damage_members(members: dict[Any, Json], name: Any, chance: random.Random) -> None:
    value = members[name]
    kind = chance.randrange(4)
    if kind == 0:  # the same name again: a raw name is another key of the dictionary
        members[_Raw(json.dumps(str(name)) + " ")] = value
    elif kind == 1:
        members[_Raw('"' + chance.choice(NAMES) + '"')] = _hostile_value(chance)
    elif kind == 2:
        members.update({f"unknown{index}": index for index in range(chance.choice([1, 70, 2000]))})
    else:
        del members[name]
        members[_Raw('"' + chance.choice(NAMES) + '"')] = value


def _places(document: Json) -> Iterator[tuple[Any, Any]]:
    """Yield each container in a document with each of its keys, the outer ones first."""
    keys: Any = ()
    if isinstance(document, dict):
        keys = list(document)
    elif isinstance(document, list):
        keys = range(len(document))
    for key in keys:
        yield document, key
    for key in keys:
        yield from _places(document[key])


def _window(world: World, chance: random.Random) -> list[Json]:
    numbers = list(world.window)
    if chance.random() < 0.5:
        columns = world.shape[1]
        return [numbers[start : start + columns] for start in range(0, len(numbers), columns)]
    return numbers


def _item(world: World, chance: random.Random) -> dict[str, Json]:
    item: dict[str, Json] = {"symbol": "BTCUSDT", "features": _window(world, chance)}
    if chance.random() < 0.5:
        item["model_name"] = world.model
    if chance.random() < 0.5:
        item["model_version"] = chance.choice([world.version, "production", "staging", "9.9.9"])
    if chance.random() < 0.3:
        item["unit_id"] = "bot-1"
    return item


def _json_predict(world: World, chance: random.Random) -> HostileRequest:
    item = _item(world, chance)
    if chance.random() < 0.3:
        item["timings"] = True
    return _json_request("/api/ml/predict", item, chance)


def _batch(world: World, chance: random.Random) -> HostileRequest:
    items = [_item(world, chance) for _ in range(chance.choice([1, 2, 5]))]
    document = {"requests": items, "max_batch_size": chance.choice([1, 4, 32])}
    return _json_request("/api/ml/predict/batch", document, chance)


def _series(world: World, chance: random.Random) -> HostileRequest:
    times = [0, -1, 10**15, 1.5, True, "2026-01-05T00:00:00Z", "2026-01-05", "now", "", None]
    document: dict[str, Json] = {
        name: chance.choice(times) for name in ("from", "to", "known_at") if chance.random() < 0.6
    }
    if chance.random() < 0.3:
        document["features"] = [*_window(world, chance), *_window(world, chance)]
    if chance.random() < 0.8:
        document["symbol"] = chance.choice(["EURUSD", "BTC/USDT", "a b", "\0", "\ud800", ""])
    if chance.random() < 0.3:
        document["model_version"] = chance.choice([world.version, "staging", "9.9.9"])
    return _json_request("/api/ml/predict/series", document, chance)


def _reload(world: World, chance: random.Random) -> HostileRequest:
    document = {"model_name": world.model, "version": world.version}
    return _json_request("/api/ml/models/reload", document, chance)


def _definition(world: World, chance: random.Random) -> HostileRequest:
    document = dict(world.definition)
    extremes = [0, -1, 1e-300, 1e300, 1e18, 2**63, 0.5, 1]
    for name in chance.sample(sorted(EXPERIMENT_NUMBERS), chance.randrange(4)):
        document[name] = chance.choice(extremes)
    if chance.random() < 0.3:
        document |= {"assignment": "switchback", "switchback_block_s": chance.choice(extremes)}
    return _json_request("/api/ml/ab-test/create", document, chance)


EXPERIMENT_NUMBERS = {
    *("control_traffic", "treatment_traffic", "duration_hours", "min_samples", "horizon_s"),
    *("min_accuracy_improvement", "max_latency_degradation_ms", "confidence_level", "dead_band"),
    *("periods_per_year", "exposure_step_hours", "max_accuracy_drop", "max_error_rate_ratio"),
    "max_error_rate_increase",
}


def _outcomes(world: World, chance: random.Random) -> HostileRequest:
    outcomes: list[Json] = [
        {
            "prediction_id": chance.choice([*world.prediction_ids, "unknown"]),
            "market_return": chance.choice([0.01, -0.5, 0, 1000, 1001, 1e-300]),
        }
        for _ in range(chance.choice([1, 3, 30]))
    ]
    document = outcomes[0] if chance.random() < 0.5 else {"outcomes": outcomes}
    return _json_request("/api/ml/outcomes", document, chance)


def _push(world: World, chance: random.Random) -> HostileRequest:
    prices = [1.5, 0, -1, 1e308, None, "1", True]
    bars: list[Json] = [
        {
            "time": chance.choice([0, "1970-01-01T00:00:00Z", "1970-01-01", 10**15, -1, 1.5]),
            **{name: chance.choice(prices) for name in ("open", "high", "low", "close", "volume")},
        }
        for _ in range(chance.choice([0, 1, 30]))
    ]
    symbol = chance.choice(["EURUSD", "BTC/USDT", "a b", "../x", "\0", "\ud800", "x" * 65, ""])
    timeframe = chance.choice(["1h", "1m", "7m", "-1h", "1e9d", ""])
    push = {"symbol": symbol, "timeframe": timeframe, "bars": bars}
    document = push if chance.random() < 0.5 else {"pushes": [push, push]}
    if chance.random() < 0.8:
        return _json_request("/api/ml/bars", document, chance)
    headers = [(b"content-type", b"application/vnd.apache.arrow.stream")]
    body = chance.randbytes(chance.choice([1, 8, 100]))
    return HostileRequest("POST", "/api/ml/bars", b"symbol=X&timeframe=1h", headers, body)


def _bars(world: World, chance: random.Random) -> HostileRequest:
    symbols = ["EURUSD", "BTC/USDT", "", "/", "..", "a\0b", "\ud800", "x" * 5000, "a%2Fb", "^"]
    fields = ["timeframe", "from", "to", "known_at", "limit", "limit", "other"]
    values = [
        "1h",
        "7m",
        "0",
        "-1",
        "1e9",
        "9" * 400,
        "2026-01-05T09:00:00Z",
        "NaN",
        "%00",
        "%ff",
        "",
    ]
    query = "&".join(
        f"{chance.choice(fields)}={chance.choice(values)}" for _ in range(chance.randint(0, 3))
    )
    path = f"/api/ml/bars/{chance.choice(symbols)}"
    return HostileRequest(chance.choice(["GET", "GET", "HEAD", "POST"]), path, query.encode())


def _numbers_predict(world: World, chance: random.Random) -> HostileRequest:
    body = np.array(world.window, dtype=chance.choice(["<f4", "<f4", "<f4", ">f4", "<f8"]))
    with np.errstate(all="ignore"):
        body = body * chance.choice([1, 1, 1, math.nan, math.inf, 1e38])
    headers = [(b"content-type", b"application/octet-stream")]
    query = _query(world, chance)
    return HostileRequest("POST", "/api/ml/predict", query, headers, body.tobytes())


def _query(world: World, chance: random.Random) -> bytes:
    rows, columns = world.shape
    shapes = [
        f"{rows},{columns}",
        f"{rows * columns}",
        "0,999999999,999999999",
        "1",
        "-1",
        ",",
        "9" * 30,
    ]
    fields = {"symbol": "BTCUSDT", "shape": chance.choice(shapes), "unit_id": "bot"}
    texts = [
        "%00",
        "%ff",
        "%ud800",
        "%",
        "%zz",
        "a" * 300,
        "%F0%9F%98%80",
        "+",
        "",
        "true",
        "%ED%A0%80",
    ]
    parts = []
    for name, value in fields.items():
        if chance.random() < 0.8 or name == "symbol":
            hostile = chance.random() < 0.15
            parts.append(f"{name}={chance.choice(texts) if hostile else value}")
    if chance.random() < 0.15:
        parts.append(
            chance.choice([*parts, "timings=1", "x=1", "=", "&&", "features=1", "a" * 3000])
        )
    query = "&".join(parts).encode()
    return _damaged_bytes(query, chance) if chance.random() < 0.1 else query


def _npy_predict(world: World, chance: random.Random) -> HostileRequest:
    types = ["<f4", ">f8", "<f2", "<i8", "u1", "?", "<U3", "<c8", "O", "<M8[s]", "V4", "S2"]
    numbers = np.zeros(world.shape, chance.choice([*(["<f4"] * 8), *types]))
    if chance.random() < 0.3:
        numbers = np.asfortranarray(numbers)
    file = io.BytesIO()
    version = chance.choice([(1, 0), (2, 0), (3, 0)])
    np.lib.format.write_array(file, numbers, version=version, allow_pickle=True)
    body = file.getvalue()
    if chance.random() < 0.6:
        old, new = chance.choice(NPY_DAMAGES)
        body = body.replace(old, new, 1)
    query = b"symbol=BTCUSDT" if chance.random() < 0.8 else _query(world, chance)
    headers = [(b"content-type", b"application/x-npy")]
    return HostileRequest("POST", "/api/ml/predict", query, headers, body)


NPY_DAMAGES = [
    (b"NUMPY\x01\x00", b"NUMPY\x01\x01"),
    (b"NUMPY\x01\x00", b"NUMPY\x02\x00"),
    (b"NUMPY\x02\x00", b"NUMPY\x01\x00"),
    (b"v\x00{", b"\xff\xff{"),
    (b"'descr'", b"'descr\x00'"),
    (b"'<f4'", b"'<f99'"),
    (b"'<f4'", b"'|O'  "),
    (b"'<f4'", b"[('a', '<f4')]"),
    (b"'<f4'", b"(" * 90),
    (b"'<f4'", b"1e999"),
    (b"'<f4'", b"'a,b'"),
    (b"'<f4'", b"'<M8[\xff]'"),
    (b"False", b"None"),
    (b"False", b"1/0"),
    (b"False", b"[]"),
    (b"(3, 2)", b"(-3, -2)"),
    (b"(3, 2)", b"(0, 99999999999)"),
    (b"(3, 2)", b"(6L,)"),
    (b"(3, 2)", b"('6',)"),
    (b"(3, 2)", b"(True, 6)"),
    (b"(3, 2)", b"(9**9**9,)"),
    (b"(3, 2)", b"(" + b"1," * 40 + b"6)"),
    (b"(3, 2)", b"(2147483648, 2147483648, 4)"),
    (b"}", b"} and {}"),
    (b"{", b"\x00{"),
    (b"{", b"#{"),
    (b"{", b"lambda:{"),
    (b", }", b", 'descr': '<f8', }"),
    (b" \n", b"\xe9\n"),
]


def _path(world: World, chance: random.Random) -> HostileRequest:
    ids = [
        world.experiment_id,
        "other",
        "a\0b",
        "\ud800",
        "\ufffd",
        "a" * 65,
        "a" * 5000,
        "..",
        "'",
        "a\n",
    ]
    action = chance.choice(["analyze", "evidence", "stop", "", "x"])
    paths = [
        "/api/ml/models",
        "/api/ml/health",
        "/health",
        "/api/ml/ab-test",
        "/",
        "//",
        "/\0",
        "/api/ml/\ud800",
    ]
    paths += [
        "/openapi.json",
        "/api/ml/predict/",
        "/api/ml/predict/batch/",
        "/../../etc/passwd",
        "/a" * 2000,
    ]
    path = chance.choice([chance.choice(paths), f"/api/ml/ab-test/{chance.choice(ids)}/{action}"])
    return HostileRequest(
        chance.choice(["GET", "GET", "POST", "POST", "PUT", "HEAD", "OPTIONS", "BREW"]), path
    )


def _damaged_bytes(body: bytes, chance: random.Random) -> bytes:
    """Return bytes with a cut, a repetition, an insertion or a flipped bit."""
    position = chance.randrange(len(body) + 1)
    kind = chance.randrange(5)
    if kind == 0:
        return body[:position]
    if kind == 1:
        inserted = chance.choice(
            [b"\x00", b"\xff", b"\xed\xa0\x80", b'"', b"\\", b"[", b"}", b",", b"\xef\xbb\xbf"]
        )
        return body[:position] + inserted + body[position:]
    if kind == 2:
        end = min(len(body), position + chance.choice([1, 10, 100]))
        return body[:position] + body[end:]
    if kind == 3:
        return body[:position] + body[position : position + 200] * 3 + body[position:]
    if position == len(body):
        return body + body[:100]
    flipped = bytes([body[position] ^ 1 << chance.randrange(8)])
    return body[:position] + flipped + body[position + 1 :]


def _damage_envelope(request: HostileRequest, chance: random.Random) -> None:
    """Damage what surrounds a body: its type, its length, the query or the method."""
    kind = chance.randrange(6)
    types = [
        b"",
        b"text/plain",
        b"application/x-npy",
        b"application/octet-stream",
        b"\xff\xb2",
        b"application/json; x",
    ]
    lengths = [b"0", b"-1", b"\xb2", b"9" * 30, b"9" * 5000, b"1e9", b"", b"abc", b" 12"]
    damages: tuple[Callable[[], object], ...] = (
        lambda: setattr(request, "headers", [(b"content-type", chance.choice(types))]),
        lambda: request.headers.append((b"content-type", chance.choice(types))),
        lambda: request.headers.append((b"content-length", chance.choice(lengths))),
        lambda: request.headers.append(
            (b"x-request-id", chance.choice([b"\xff" * 9, b"a" * 9000]))
        ),
        lambda: setattr(request, "query", b"symbol=\xff&\x00=%00"),
        lambda: setattr(request, "method", chance.choice(["GET", "PUT", "HEAD", "post", ""])),
    )
    damages[kind]()
