"""A Chromium driven by its own protocol alone: its pages can be hidden, frozen and stopped.

Playwright keeps every page in view, and what is in view is never frozen.
"""

import re
import signal
from asyncio import create_subprocess_exec, wait_for
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
from aiohttp import ClientSession

from tests.support.browser import FLAGS, chromium

PATIENCE_SECONDS = 30.0


class Tab:
    """A page, in front of an empty one."""

    def __init__(self, socket: Any, browser: psutil.Process) -> None:
        self._socket = socket
        self._browser = browser
        self._number = 0
        self._session: str | None = None
        self._target = self._behind = ""

    async def open(self, url: str) -> None:
        """Goes there; once for each tab."""
        self._behind = (await self._send("Target.createTarget", url="about:blank"))["targetId"]
        self._target = (await self._send("Target.createTarget", url=url))["targetId"]
        attached = await self._send("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = await self._send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def freeze(self) -> None:
        """Puts another page in front of this one, and stops all that goes on in it."""
        await self._send("Target.activateTarget", targetId=self._behind)
        await self._send("Page.setWebLifecycleState", state="frozen")

    async def thaw(self) -> None:
        """Takes it back to the front, as it was."""
        await self._send("Page.setWebLifecycleState", state="active")
        await self._send("Target.activateTarget", targetId=self._target)

    async def stop(self) -> None:
        """Stops all processes of the browser, as a machine does that goes to sleep."""
        for process in self._processes():
            process.send_signal(signal.SIGSTOP)

    async def wake(self) -> None:
        """Lets the processes go on."""
        for process in self._processes():
            process.send_signal(signal.SIGCONT)

    def _processes(self) -> list[psutil.Process]:
        return [self._browser, *self._browser.children(recursive=True)]

    async def _send(self, method: str, **params: Any) -> Any:
        """What the browser answers; its events are of no interest."""
        self._number += 1
        call = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            call["sessionId"] = self._session
        await self._socket.send_json(call)
        while True:
            answer = await self._socket.receive_json(timeout=PATIENCE_SECONDS)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]


@asynccontextmanager
async def browser_tab(profile: Path) -> AsyncIterator[Tab]:
    """A tab in a browser of its own, whose files are in the folder `profile`."""
    options = ("--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}")
    browser = await create_subprocess_exec(chromium(), *FLAGS, *options, stderr=PIPE)
    try:
        assert browser.stderr is not None
        while (address := re.search(rb"ws://\S+", await browser.stderr.readline())) is None:
            assert browser.returncode is None, "Chromium did not start"
        async with (
            ClientSession() as client,
            client.ws_connect(address[0].decode(), max_msg_size=0) as socket,
        ):
            tab = Tab(socket, psutil.Process(browser.pid))
            yield tab
    finally:
        for process in reversed(psutil.Process(browser.pid).children(recursive=True)):
            process.kill()
        browser.kill()
        await wait_for(browser.wait(), PATIENCE_SECONDS)
