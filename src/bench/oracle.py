"""The oracle of `lampguard bench crash`: another program, in another language, that shares nothing with it.

    oracle.py publish …   sends readings at QoS 1 and keeps a file of those that were acknowledged to it
    oracle.py check …     reads that file and the database, and compares the two sets

Python 3 and its standard library only; MQTT 3.1.1 by hand. A reading is known by (post, boot, seq).

Files that `publish` writes, one line each, flushed before the bytes go out or as the acknowledgement comes in:
    sent.txt          post boot seq         before its first sending
    acknowledged.txt  post boot seq         PUBACK was received
    refusable.txt     post kind             acknowledged payloads that hold no usable reading

Lines on standard output are JSON: progress while it runs, the sum at the end.
"""
import argparse
import collections
import json
import os
import select
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ZONES = 4
# A restart of the sensor after so many readings of a post: the running number begins again.
READINGS_PER_BOOT = 20
FIRST_BOOT = 7
# Unacknowledged messages of one connection.
WINDOW = 500
# Waits, seconds.
RETRY, GREETING, KEEP_ALIVE, PROGRESS = 0.05, 5.0, 30, 0.1
# A reading that is sent a second time, as a message of its own, comes so long after its acknowledgement.
AGAIN_AFTER = 1.0
# A database shows new rows late; only what is missing after this long is missing.
VISIBLE_AFTER = 20.0

# Payloads that hold no usable reading, in turn. The fourth is an object whose only keys are not measurements.
REFUSABLE = [
    ("json", b'{"ts":1760710920123,"leakage_ma":'),
    ("utf8", b'{"leakage_ma":\xff\xfe1}'),
    ("not_object", b'"leakage"'),
    ("no_measurement", b'{"seq":1,"boot":1}'),
    ("empty", b""),
]


def length_bytes(length):
    out = bytearray()
    while True:
        byte, length = length % 128, length // 128
        out.append(byte | (128 if length else 0))
        if not length:
            return bytes(out)


def text_bytes(text):
    return len(text).to_bytes(2, "big") + text.encode()


class Message:
    """One PUBLISH from its first sending to its acknowledgement."""

    __slots__ = ("kind", "key", "topic", "payload")

    def __init__(self, kind, key, topic, payload):
        self.kind, self.key, self.topic, self.payload = kind, key, topic, payload

    def frame(self, packet_id, again):
        body = text_bytes(self.topic) + packet_id.to_bytes(2, "big") + self.payload
        return bytes([0x3A if again else 0x32]) + length_bytes(len(body)) + body


class Link:
    """A connection under a fixed client id, session kept. What was not acknowledged goes out again on the next."""

    def __init__(self, number, port):
        self.client_id, self.port = f"oracle-{number}", port
        self.socket, self.greeted, self.since = None, False, 0.0
        self.incoming, self.out = bytearray(), bytearray()
        self.flight = collections.OrderedDict()
        self.queue = collections.deque()
        self.packet_id, self.retry_at, self.ping_at = 0, 0.0, 0.0
        self.reconnects, self.resent = 0, 0

    def connect(self, now):
        self.retry_at = now + RETRY
        try:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=2)
        except OSError:
            return
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.since, self.greeted = now, False
        self.incoming.clear()
        body = text_bytes("MQTT") + bytes([4, 0]) + (2 * KEEP_ALIVE).to_bytes(2, "big") + text_bytes(self.client_id)
        self.out = bytearray(b"\x10" + length_bytes(len(body)) + body)

    def drop(self, now):
        if self.socket:
            self.socket.close()
        self.socket, self.greeted, self.retry_at = None, False, now + RETRY
        self.out.clear()

    def greet(self, now):
        self.greeted, self.ping_at = True, now + KEEP_ALIVE
        self.reconnects += 1
        for packet_id, message in self.flight.items():
            self.out += message.frame(packet_id, True)
            self.resent += 1

    def has_room(self):
        return self.greeted and len(self.flight) < WINDOW and len(self.out) < 1 << 18

    def send(self, message):
        while True:
            self.packet_id = self.packet_id % 65535 + 1
            if self.packet_id not in self.flight:
                break
        self.flight[self.packet_id] = message
        self.out += message.frame(self.packet_id, False)

    def write(self, now):
        if self.greeted and now > self.ping_at:
            self.ping_at = now + KEEP_ALIVE
            self.out += b"\xc0\x00"
        try:
            if self.out:
                del self.out[: self.socket.send(self.out)]
        except BlockingIOError:
            pass
        except OSError:
            self.drop(now)

    def read(self, now):
        """Returns the messages that were acknowledged."""
        try:
            data = self.socket.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.drop(now)
            return []
        self.incoming += data
        done = []
        while True:
            packet = self.packet()
            if packet is None:
                return done
            kind, body = packet
            if kind == 0x20:
                if body[1] != 0:
                    raise SystemExit(f"{self.client_id} was refused: CONNACK {bytes(body)!r}")
                self.greet(now)
            elif kind == 0x40:
                message = self.flight.pop(int.from_bytes(body[:2], "big"), None)
                if message:
                    done.append(message)

    def packet(self):
        length, shift = 0, 0
        for place in range(1, min(5, len(self.incoming))):
            byte = self.incoming[place]
            length |= (byte & 127) << shift
            shift += 7
            if not byte & 128:
                end = place + 1 + length
                if len(self.incoming) < end:
                    return None
                packet = (self.incoming[0], self.incoming[place + 1 : end])
                del self.incoming[:end]
                return packet
        return None


class Publisher:
    def __init__(self, options):
        self.options = options
        self.links = [Link(number, options.port) for number in range(options.connections)]
        self.counts = [0] * options.posts
        self.again = collections.deque()
        self.files = {
            name: open(os.path.join(options.dir, f"{name}.txt"), "w", encoding="ascii")
            for name in ("sent", "acknowledged", "refusable")
        }
        self.handed_out = self.good = self.refusable = self.duplicates = self.acknowledged = 0

    def message(self, number):
        """Reading `number`, made as it goes out, so that its time is now."""
        post = number % self.options.posts
        name = f"P{post:06}"
        topic = f"lamp/z{post % ZONES + 1}/{name}/reading"
        if number % self.options.refusable_every == self.options.refusable_every // 2:
            kind, payload = REFUSABLE[self.refusable % len(REFUSABLE)]
            self.refusable += 1
            return Message("refusable", (name, kind), topic, payload)
        boot, seq = divmod(self.counts[post], READINGS_PER_BOOT)
        self.counts[post] += 1
        self.good += 1
        value = (number * 2654435761 + self.options.seed * 40503) & 0xFFFFFFFF
        payload = json.dumps(
            {
                "ts": int(time.time() * 1000),
                "seq": seq + 1,
                "boot": FIRST_BOOT + boot,
                "cause": "periodic",
                "leakage_ma": value % 300 / 100,
                "shell_v": value % 23 / 10,
                "supply_v": 220 + value % 170 / 10,
                "lamp_a": 0.4 + value % 97 / 1000,
                "temperature_c": 10 + value % 150 / 10,
                "battery_v": 3.61,
                "rssi_dbm": -60 - value % 40,
            },
            separators=(",", ":"),
        ).encode()
        key = (name, FIRST_BOOT + boot, seq + 1)
        self.files["sent"].write("%s %d %d\n" % key)
        return Message("good", key, topic, payload)

    def settle(self, message, now):
        self.acknowledged += message.kind != "duplicate"
        if message.kind == "refusable":
            self.files["refusable"].write("%s %s\n" % message.key)
        elif message.kind == "good":
            self.files["acknowledged"].write("%s %d %d\n" % message.key)
            post, boot, seq = message.key
            if (int(post[1:]) + boot + seq) % self.options.duplicate_every == 0:
                self.again.append((now + AGAIN_AFTER, message))

    def hand_out(self, now, elapsed):
        """Everything that is due goes to the link of its post; a post stays with one link."""
        total, links = self.options.readings, len(self.links)
        due = min(total, int(elapsed * self.options.rate))
        while self.handed_out < due:
            self.links[self.handed_out % self.options.posts % links].queue.append(self.handed_out)
            self.handed_out += 1
        while self.again and self.again[0][0] <= now:
            copy = self.again.popleft()[1]
            self.duplicates += 1
            link = self.links[int(copy.key[0][1:]) % links]
            link.queue.append(Message("duplicate", copy.key, copy.topic, copy.payload))

    def is_done(self):
        waiting = self.again or any(link.queue or link.flight for link in self.links)
        return self.handed_out == self.options.readings and not waiting

    def turn(self, now):
        for link in self.links:
            if link.socket is None and now >= link.retry_at:
                link.connect(now)
            elif link.socket and not link.greeted and now > link.since + GREETING:
                link.drop(now)
            while link.queue and link.has_room():
                item = link.queue.popleft()
                link.send(item if isinstance(item, Message) else self.message(item))
        # On file before the bytes leave: what is in the database and not in this file was never sent.
        self.files["sent"].flush()
        for link in self.links:
            if link.socket:
                link.write(now)
        by_socket = {link.socket: link for link in self.links if link.socket}
        if not by_socket:
            time.sleep(0.01)
            return
        full = [s for s, link in by_socket.items() if link.out]
        readable, _, _ = select.select(list(by_socket), full, [], 0.005)
        for ready in readable:
            for message in by_socket[ready].read(now):
                self.settle(message, now)
        self.files["acknowledged"].flush()
        self.files["refusable"].flush()

    def sum(self):
        return {
            "readings": self.options.readings,
            "sent": self.good + self.refusable,
            "acknowledged": self.acknowledged,
            "good": self.good,
            "refusable": self.refusable,
            "duplicates": self.duplicates,
            "reconnects": sum(link.reconnects for link in self.links) - len(self.links),
            "resent": sum(link.resent for link in self.links),
        }

    def run(self):
        start = time.monotonic()
        told, limit = 0.0, start + self.options.limit
        while not self.is_done():
            now = time.monotonic()
            if now > limit:
                print(json.dumps(self.sum()), flush=True)
                raise SystemExit(f"not done after {self.options.limit} s: {self.sum()}")
            self.hand_out(now, now - start)
            self.turn(now)
            if now > told + PROGRESS:
                told = now
                print(json.dumps({"sent": self.good + self.refusable, "acknowledged": self.acknowledged}), flush=True)
        for file in self.files.values():
            file.close()
        print(json.dumps(dict(self.sum(), done=True, took_s=round(time.monotonic() - start, 2))), flush=True)


def keys_in(path):
    """The readings of a file, and how many of its lines say one again."""
    keys, again = set(), 0
    with open(path, encoding="ascii") as file:
        for line in file:
            post, boot, seq = line.split()
            key = (post, int(boot), int(seq))
            again += key in keys
            keys.add(key)
    return keys, again


def rows_in_database(url):
    """How many rows the database holds of each (post, boot, seq). A row is one set of tags at one time."""
    fetch = lambda path: urllib.request.urlopen(url + path, timeout=120)
    fetch("/internal/force_flush").read()
    query = urllib.parse.urlencode({"match[]": '{__name__=~"lamp_seq|lamp_boot"}', "start": "0"})
    fields = {"lamp_seq": {}, "lamp_boot": {}}
    with fetch("/api/v1/export?" + query) as answer:
        for line in answer:
            series = json.loads(line)
            labels = dict(series["metric"])
            field = fields[labels.pop("__name__")]
            tags = tuple(sorted(labels.items()))
            for at, value in zip(series["timestamps"], series["values"]):
                # A time that comes twice in one series is one row that the database has not merged yet,
                # unless its values differ: then each counts.
                field.setdefault((tags, at), set()).add(int(value))
    counts = collections.Counter()
    for row, seqs in fields["lamp_seq"].items():
        post = dict(row[0]).get("post", "")
        for boot in fields["lamp_boot"].get(row, {-1}):
            for seq in seqs:
                counts[(post, boot, seq)] += 1
    return counts


def compare(options):
    acknowledged, again = keys_in(os.path.join(options.dir, "acknowledged.txt"))
    sent, _ = keys_in(os.path.join(options.dir, "sent.txt"))
    counts = rows_in_database(options.database)
    missing = sorted(acknowledged - counts.keys())
    twice = sorted(key for key, count in counts.items() if count > 1)
    unexpected = sorted(counts.keys() - sent)
    return {
        "ok": not missing and not twice and not unexpected and again == 0 and bool(acknowledged),
        "acknowledged": len(acknowledged),
        "sent": len(sent),
        "in_database": len(counts),
        "rows": sum(counts.values()),
        "missing": len(missing),
        "more_than_once": len(twice),
        "unexpected": len(unexpected),
        "acknowledged_twice": again,
        "examples": {"missing": missing[:5], "more_than_once": twice[:5], "unexpected": unexpected[:5]},
    }


def check(options):
    start = time.monotonic()
    while True:
        try:
            found = compare(options)
        except (urllib.error.URLError, OSError) as error:
            found = {"ok": False, "missing": 1, "error": str(error)}
        waited = time.monotonic() - start
        # Only rows that are not visible yet can come; rows that are there twice do not go away.
        if found["ok"] or not found.get("missing") or waited > VISIBLE_AFTER:
            print(json.dumps(dict(found, visible_after_s=round(waited, 1))), flush=True)
            raise SystemExit(0 if found["ok"] else 1)
        time.sleep(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    publish = commands.add_parser("publish")
    publish.add_argument("--port", type=int, required=True)
    publish.add_argument("--dir", required=True)
    publish.add_argument("--readings", type=int, required=True)
    publish.add_argument("--posts", type=int, required=True)
    publish.add_argument("--rate", type=float, required=True)
    publish.add_argument("--connections", type=int, default=8)
    publish.add_argument("--seed", type=int, default=1)
    publish.add_argument("--refusable-every", type=int, default=500)
    publish.add_argument("--duplicate-every", type=int, default=25)
    publish.add_argument("--limit", type=float, default=3600)
    checking = commands.add_parser("check")
    checking.add_argument("--dir", required=True)
    checking.add_argument("--database", required=True)
    options = parser.parse_args()
    if options.command == "publish":
        Publisher(options).run()
    else:
        check(options)


if __name__ == "__main__":
    sys.exit(main())
