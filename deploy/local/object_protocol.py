"""The part of the S3 protocol that the broker uses, over an `ObjectStore`."""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import format_datetime
from urllib.parse import unquote
from xml.sax.saxutils import escape, unescape

from aiohttp import web
from aiohttp.typedefs import Handler

from deploy.local.object_store import ObjectStore

BUCKET = "broker"
_PAGE_KEYS = 10_000  # S3 sends 1,000; the broker lists a partition at every fetch, so fewer pages are faster
_MAX_OBJECT_BYTES = 256 * 1024 * 1024


def object_store_app(store: ObjectStore, access_key: str) -> web.Application:
    """`store` as an S3 endpoint with path-style addresses.

    Signatures are not checked, but a request must name `access_key`, which only the broker is told.
    """

    @web.middleware
    async def only_the_broker(request: web.Request, handler: Handler) -> web.StreamResponse:
        if f"Credential={access_key}/" not in request.headers.get("Authorization", ""):
            return _error(403, "AccessDenied")
        return await handler(request)

    app = web.Application(client_max_size=_MAX_OBJECT_BYTES, middlewares=[only_the_broker])
    bucket = _Bucket(store)
    app.router.add_route("GET", "/{key:.*}", bucket.read)
    app.router.add_route("HEAD", "/{key:.*}", bucket.read)
    app.router.add_route("PUT", "/{key:.*}", bucket.write)
    app.router.add_route("DELETE", "/{key:.*}", bucket.remove)
    app.router.add_route("POST", "/{key:.*}", bucket.remove_many)
    return app


class _Bucket:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def read(self, request: web.Request) -> web.StreamResponse:
        key = _key(request)
        if not key:
            return _listing(self._store, request)
        found = self._store.get(key)
        if found is None:
            return _error(404, "NoSuchKey")
        body, etag, modified = found
        headers = {
            "ETag": etag,
            "Last-Modified": format_datetime(datetime.fromisoformat(modified), usegmt=True),
        }
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        if request.headers.get("If-Match", etag) != etag:
            return _error(412, "PreconditionFailed")
        if "Range" in request.headers:
            start, stop, _ = request.http_range.indices(len(body))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            return web.Response(status=206, body=body[start:stop], headers=headers)
        return web.Response(body=body, headers=headers)

    async def write(self, request: web.Request) -> web.StreamResponse:
        if "uploadId" in request.query or "x-amz-copy-source" in request.headers:
            return _error(501, "NotImplemented")
        etag = self._store.put(
            _key(request),
            await request.read(),
            if_match=request.headers.get("If-Match"),
            if_absent=request.headers.get("If-None-Match") == "*",
        )
        if etag is None:
            return _error(412, "PreconditionFailed")
        return web.Response(headers={"ETag": etag})

    async def remove(self, request: web.Request) -> web.StreamResponse:
        self._store.delete(_key(request))
        return web.Response(status=204)

    async def remove_many(self, request: web.Request) -> web.StreamResponse:
        if "delete" not in request.query:
            return _error(501, "NotImplemented")
        keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", await request.text(), re.DOTALL)]
        for key in keys:
            self._store.delete(key)
        deleted = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return _xml(f"<DeleteResult>{deleted}</DeleteResult>")


def _key(request: web.Request) -> str:
    return unquote(request.raw_path.split("?", 1)[0]).removeprefix(f"/{BUCKET}").removeprefix("/")


def _listing(store: ObjectStore, request: web.Request) -> web.Response:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after", "")
    limit = int(query.get("max-keys", _PAGE_KEYS))
    objects, prefixes, position = store.page(prefix, after, delimiter, limit)
    parts = [
        f"<Contents><Key>{escape(key)}</Key><LastModified>{modified}</LastModified>"
        f"<ETag>{escape(etag)}</ETag><Size>{size}</Size></Contents>"
        for key, size, etag, modified in objects
    ]
    parts += [f"<CommonPrefixes><Prefix>{escape(common)}</Prefix></CommonPrefixes>" for common in prefixes]
    if position is not None:
        parts.append(f"<NextContinuationToken>{escape(position)}</NextContinuationToken>")
    return _xml(
        f"<ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix>"
        f"<KeyCount>{len(objects) + len(prefixes)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
        f"<IsTruncated>{'true' if position is not None else 'false'}</IsTruncated>{''.join(parts)}"
        "</ListBucketResult>"
    )


def _xml(text: str, status: int = 200) -> web.Response:
    document = f'<?xml version="1.0" encoding="UTF-8"?>{text}'
    return web.Response(body=document.encode(), status=status, content_type="application/xml")


def _error(status: int, code: str) -> web.Response:
    return _xml(f"<Error><Code>{code}</Code><Message>{code}</Message></Error>", status)
