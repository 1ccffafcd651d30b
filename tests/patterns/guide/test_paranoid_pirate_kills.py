"""Workers in processes of their own are killed under load: each request has exactly one reply."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack

import zmq

from patterns.guide import ParanoidPirateQueue
from patterns.guide.paranoid_pirate_queue import REQUEST_ATTEMPTS_MAX
from tests.patterns.raw_peers import RawPeers, receive

REQUESTS = 400
KILLS = REQUEST_ATTEMPTS_MAX - 1
"""So that no request can be dropped for having been in the hands of too many."""

WORKER = """
import sys, time
from patterns.guide import ParanoidPirateWorker

def bake(content):
    time.sleep(0.002)
    return content

ParanoidPirateWorker(sys.argv[1], bake, heartbeat_interval=0.2, missed_max=50).run()
"""


def test_each_request_is_answered_once_while_workers_are_killed(peers: RawPeers) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kill_at = set(chance.sample(range(REQUESTS // 10, REQUESTS * 9 // 10), KILLS))
    replies: Counter[bytes] = Counter()
    with (
        ParanoidPirateQueue(
            frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*", heartbeat_interval=0.2, missed_max=50
        ) as queue,
        ExitStack() as stack,
    ):

        def start_worker() -> subprocess.Popen[bytes]:
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", WORKER, queue.backend]))
            stack.callback(process.kill)
            return process

        workers = [start_worker() for _ in range(2)]
        client = peers.connect(zmq.DEALER, queue.frontend)
        for number in range(REQUESTS):
            client.send_multipart([b"%d" % number, b"", b"pizza"])
        for count in range(REQUESTS):
            replies[receive(client)[0]] += 1
            if count in kill_at:
                workers.pop(0).kill()  # the one that has surely been at work
                workers.append(start_worker())
        assert client.poll(100) == 0
        assert queue.abandoned == 0
        assert queue.reassigned > 0
    assert replies == Counter(b"%d" % number for number in range(REQUESTS))
