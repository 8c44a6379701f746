"""The relay must never hide a failure by keeping a connection open."""

from __future__ import annotations

import asyncio
import struct

from deploy.local.kafka_relay import KafkaRelay

LIST_OFFSETS, OTHER = 2, 18


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


async def ask(request: bytes, answer: bytes) -> bytes:
    """What a client reads, up to the end of its connection, when a broker gives `answer` and hangs on."""
    released = asyncio.Event()

    async def broker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        await writer.drain()
        await released.wait()
        writer.close()

    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    relay = KafkaRelay(server.sockets[0].getsockname()[1], lambda topic, partition: 7)
    await relay.start(0)
    assert relay._server is not None
    port = relay._server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        return await asyncio.wait_for(reader.read(4096), 5)
    finally:
        writer.close()
        released.set()
        await relay.stop()
        server.close()


async def test_other_requests_pass_through_untouched() -> None:
    answer = frame(struct.pack(">i", 5) + b"any bytes")
    assert await ask(frame(struct.pack(">hhih", OTHER, 0, 5, -1)), answer) == answer


async def test_an_answer_that_cannot_be_read_ends_the_connection() -> None:
    body = struct.pack(">ii", -1, 1) + b"\0\1t" + struct.pack(">iiq", 1, 0, -1)
    request = frame(struct.pack(">hhih", LIST_OFFSETS, 1, 5, -1) + body)
    assert await ask(request, frame(struct.pack(">i", 5) + b"\x7f")) == b""


async def test_the_end_of_a_partition_is_put_in() -> None:
    body = struct.pack(">ii", -1, 1) + b"\0\1t" + struct.pack(">iiq", 1, 0, -1)
    request = frame(struct.pack(">hhih", LIST_OFFSETS, 1, 5, -1) + body)
    answer = struct.pack(">ii", 5, 1) + b"\0\1t" + struct.pack(">iihqq", 1, 0, 0, -1, 1)
    expected = struct.pack(">ii", 5, 1) + b"\0\1t" + struct.pack(">iihqq", 1, 0, 0, -1, 7)
    assert await ask(request, frame(answer)) == frame(expected)


async def test_nonsense_sizes_end_the_connection() -> None:
    assert await ask(struct.pack(">i", -5), b"") == b""


async def test_a_broker_that_is_not_up_ends_the_connection() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    closed_port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    relay = KafkaRelay(closed_port, lambda topic, partition: None)
    await relay.start(0)
    assert relay._server is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", relay._server.sockets[0].getsockname()[1])
    try:
        assert await asyncio.wait_for(reader.read(), 5) == b""
    finally:
        writer.close()
        await relay.stop()
