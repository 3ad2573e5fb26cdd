"""A web application that streams answers to its readers: Litestar here; FastAPI takes the same generator in a StreamingResponse.

    pip install litestar uvicorn && uvicorn web_app:app

One AsyncSolar serves the whole application and is closed with it. A reader who goes away ends the generator, and with it the stream
upstream. A cap that is reached is told to the reader in words.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar, get
from litestar.datastructures import State
from litestar.params import FromQuery
from litestar.response import Stream

from solar_sdk import AsyncSolar, BudgetExceededError, SolarError


@asynccontextmanager
async def with_solar(app: Litestar) -> AsyncIterator[None]:
    async with AsyncSolar() as client:
        app.state.solar = client
        yield


async def pieces(client: AsyncSolar, question: str) -> AsyncIterator[str]:
    try:
        async with await client.chat(question, stream=True) as stream:
            async for piece in stream:
                yield piece
    except BudgetExceededError:
        yield "\n[이번 달 예산을 모두 썼습니다.]"
    except SolarError as error:
        yield f"\n[지금은 답할 수 없습니다. {error.call_id or ''}]"


@get("/ask")
async def ask(question: FromQuery[str], state: State) -> Stream:
    return Stream(pieces(state.solar, question), media_type="text/plain; charset=utf-8")


app = Litestar([ask], lifespan=[with_solar])
