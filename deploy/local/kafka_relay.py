"""A relay in front of the broker that mends three of its answers.

- ListOffsets, latest: the broker answers with the *first* offset of the last batch, plus one. Lag and "read to
  the end" are wrong by up to a batch; the relay puts in the partition's real end.
- InitProducerId before version 3 is refused, so that aiokafka's idempotent producer cannot start; the relay
  asks in version 3.
- Metadata creates every topic it is asked about; the relay asks not to, so that a misspelt name is an error.

All other requests and answers pass through as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import warnings
from collections.abc import Callable
from typing import Any

import structlog

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python reads its schemas by an old function
    from kafka.protocol.consumer import ListOffsetsRequest, ListOffsetsResponse
    from kafka.protocol.metadata import MetadataRequest
    from kafka.protocol.producer import InitProducerIdRequest, InitProducerIdResponse

log = structlog.get_logger()

_HEAD = struct.Struct(">hhi")  # api key, api version, correlation id
_LATEST = -1
_FIRST_GOOD_INIT_VERSION = 3
_MAX_FRAME_BYTES = 256 * 1024 * 1024

Rewrite = Callable[[bytes], bytes]
"""Payload of an answer, as the broker sent it, to the one the client gets."""
EndOffset = Callable[[str, int], int | None]


class KafkaRelay:
    """Serves clients on one port and asks the broker on another, both on 127.0.0.1.

    `end_offset` gives the next offset of a topic's partition, or None where there is no such partition.
    """

    def __init__(self, broker_port: int, end_offset: EndOffset) -> None:
        self._broker_port = broker_port
        self._end_offset = end_offset
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 20)

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio runs every connection in a task
        self._connections.add(task)
        rewrites: dict[int, Rewrite] = {}
        out: asyncio.StreamWriter | None = None
        pumps: set[asyncio.Task[None]] = set()
        try:
            answers, out = await asyncio.open_connection("127.0.0.1", self._broker_port, limit=1 << 20)
            pumps = {
                asyncio.create_task(self._pump(reader, out, lambda data: self._request(data, rewrites))),
                asyncio.create_task(self._pump(answers, writer, lambda data: _answer(data, rewrites))),
            }
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, asyncio.CancelledError):
            pass  # the broker is not up, or the relay stops: the client sees a closed connection
        finally:
            for pump in pumps:
                pump.cancel()
            for result in await asyncio.gather(*pumps, return_exceptions=True):
                if isinstance(result, Exception):
                    log.error("kafka_relay.connection_failed", error=repr(result))
            for end in filter(None, (out, writer)):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()
            self._connections.discard(task)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, change: Rewrite) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                size = int.from_bytes(await source.readexactly(4), "big", signed=True)
                if not 4 <= size <= _MAX_FRAME_BYTES:
                    return
                payload = change(await source.readexactly(size))
                target.write(len(payload).to_bytes(4, "big"))
                target.write(payload)
                await target.drain()

    def _request(self, payload: bytes, rewrites: dict[int, Rewrite]) -> bytes:
        if len(payload) < _HEAD.size:
            return payload
        key, version, correlation = _HEAD.unpack_from(payload)
        if key == ListOffsetsRequest.API_KEY and version <= ListOffsetsRequest.max_version:
            rewrites[correlation] = self._true_ends(payload, version)
        elif key == InitProducerIdRequest.API_KEY and version < _FIRST_GOOD_INIT_VERSION:
            rewrites[correlation] = lambda data: _init_answer(data, version)
            request = InitProducerIdRequest.decode(payload, version=version, header=True)
            request.producer_id = request.producer_epoch = -1
            return _encode(request, _FIRST_GOOD_INIT_VERSION)
        elif key == MetadataRequest.API_KEY and 4 <= version <= MetadataRequest.max_version:
            request = MetadataRequest.decode(payload, version=version, header=True)
            request.allow_auto_topic_creation = False
            return _encode(request, version)
        return payload

    def _true_ends(self, payload: bytes, version: int) -> Rewrite:
        request = ListOffsetsRequest.decode(payload, version=version, header=True)
        wanted = {
            (topic.name, partition.partition_index)
            for topic in request.topics
            for partition in topic.partitions
            if partition.timestamp == _LATEST
        }

        def rewrite(data: bytes) -> bytes:
            answer = ListOffsetsResponse.decode(data, version=version, header=True)
            for topic in answer.topics:
                for partition in topic.partitions:
                    if partition.error_code or (topic.name, partition.partition_index) not in wanted:
                        continue
                    end = self._end_offset(topic.name, partition.partition_index)
                    if end is not None:
                        partition.offset = end
                        partition.old_style_offsets = [end]
            return _encode(answer, version)

        return rewrite


def _answer(payload: bytes, rewrites: dict[int, Rewrite]) -> bytes:
    rewrite = rewrites.pop(int.from_bytes(payload[:4], "big", signed=True), None)
    return rewrite(payload) if rewrite else payload


def _init_answer(payload: bytes, version: int) -> bytes:
    answer = InitProducerIdResponse.decode(payload, version=_FIRST_GOOD_INIT_VERSION, header=True)
    return _encode(answer, version)


def _encode(message: Any, version: int) -> bytes:
    header = message._header  # decode() leaves it there, and nothing public reads it
    message._header = None  # an answer's header refuses the version that the next line hands on
    message.API_VERSION = version
    if message.is_request():
        message.with_header(correlation_id=header.correlation_id, client_id=header.client_id)
    else:
        message.with_header(correlation_id=header.correlation_id)
    return bytes(message.encode(header=True))
