"""Idempotency keys: the same POST again gets the first answer again."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import Header, Request
from starlette.responses import JSONResponse, Response

from agent.errors import AgentInputInvalid
from agent.store.store import Store
from agent.store.tokens import TokenOwner, recall_response, remember_response
from api.context import context_of
from api.errors import refuse

IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key", max_length=100, pattern=r"^[\x21-\x7e]{1,100}$")]


async def once(
    request: Request,
    store: Store,
    caller: TokenOwner,
    key: str | None,
    work: Callable[[], Awaitable[tuple[int, dict[str, Any]]]],
) -> Response:
    """Run the work, or give the answer that this key got before; a key that came with another request is a 409.

    A retry waits for the first request with its key.
    """
    if key is None:
        status, document = await work()
        return JSONResponse(document, status_code=status)
    body = await request.body()
    fingerprint = hashlib.sha256(request.method.encode() + request.url.path.encode() + b"\n" + body).hexdigest()
    own_key = f"{caller.name}/{key}"
    async with context_of(request).keys_in_use.setdefault(own_key, asyncio.Lock()):
        with _refusing_reuse():
            known = await asyncio.to_thread(store.read, lambda c: recall_response(c, own_key, fingerprint))
        if known is None:
            status, document = await work()
            kept = {"status": status, "document": document}
            future = store.submit(lambda t: remember_response(t, own_key, fingerprint, kept))
            with _refusing_reuse():
                known = await asyncio.wrap_future(future) or kept
    return JSONResponse(json.loads(json.dumps(known["document"])), status_code=int(str(known["status"])))


@contextmanager
def _refusing_reuse() -> Iterator[None]:
    # Around the look-ups alone: bad input that the work itself finds is a 400.
    try:
        yield
    except AgentInputInvalid as error:
        raise refuse(409, str(error), cause="IDEMPOTENCY_KEY_REUSED") from error
