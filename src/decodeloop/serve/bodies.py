"""What a client sends: a body, which may be anything, of any size, and never come."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from decodeloop.serve.admission import Refused

JSON = "application/json"
GONE = 499  # a client that left: nobody reads it, but it is counted
MOST_BYTES = 2_000_000
MOST_DISCARDED = 32 * MOST_BYTES  # what is read and thrown away, so that a refusal can be read
SECONDS = 30.0  # for a body


async def read_body(http: Request) -> bytes:
    """The body of a request.

    JSON has to say that it is: a page of somebody else's, open in the browser, can send a form
    to a server on loopback without being asked, but no JSON.

    Raises:
        Refused: it is of another type (415), too large (413) or takes too long (408).
    """
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Refused(415, f"the body is {kind or 'of no type'!r:.80}: expected {JSON}.")
    parts, size = [], 0
    try:
        async with asyncio.timeout(SECONDS):
            async for part in http.stream():
                size += len(part)
                if size <= MOST_BYTES:
                    parts.append(part)
                elif size > MOST_DISCARDED:
                    break
    except ClientDisconnect:  # nobody reads what it is told
        raise Refused(GONE, "the client has left before its body came.") from None
    except TimeoutError:
        raise Refused(408, f"the body took more than {SECONDS:.0f} s: send it at once.") from None
    if size > MOST_BYTES:
        raise Refused(413, f"the body has {size:,} bytes or more: expected at most {MOST_BYTES:,}.")
    return b"".join(parts)
