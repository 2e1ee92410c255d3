"""What faults call the Kafka messages that nodes send each other (`kinds` of a `slow`)."""

from __future__ import annotations

from typing import Final

REQUESTS: Final = {
    1: "fetch",
    2: "list-offsets",
    24: "add-partitions-to-txn",
    27: "write-txn-markers",
    56: "alter-partition",
    62: "broker-registration",
    63: "broker-heartbeat",
    67: "allocate-producer-ids",
}
"""By API key. What is forwarded for a client, and where a client could as well ask itself, has no name."""

RESPONSES: Final = {key: f"{request}-response" for key, request in REQUESTS.items()}
