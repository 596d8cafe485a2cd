"""Chromium through the DevTools protocol, so that pages can be hidden, frozen and stopped.

Playwright keeps every page visible, and visible pages are never frozen.
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
    """A page that can be covered by an empty one."""

    def __init__(self, socket: Any, browser: psutil.Process) -> None:
        self._socket = socket
        self._browser = browser
        self._number = 0
        self._session: str | None = None
        self._target = self._behind = ""

    async def open(self, url: str) -> None:
        """Navigate to a URL; once per tab."""
        self._behind = (await self._send("Target.createTarget", url="about:blank"))["targetId"]
        self._target = (await self._send("Target.createTarget", url=url))["targetId"]
        attached = await self._send("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]

    async def evaluate(self, expression: str) -> Any:
        """Evaluate an expression in the page."""
        answer = await self._send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def freeze(self) -> None:
        """Hide the page behind another one, and freeze it."""
        await self._send("Target.activateTarget", targetId=self._behind)
        await self._send("Page.setWebLifecycleState", state="frozen")

    async def thaw(self) -> None:
        """Bring the page back to the front, and unfreeze it."""
        await self._send("Page.setWebLifecycleState", state="active")
        await self._send("Target.activateTarget", targetId=self._target)

    async def stop(self) -> None:
        """Stop all processes of the browser, like a machine that is suspended."""
        for process in self._processes():
            process.send_signal(signal.SIGSTOP)

    async def wake(self) -> None:
        """Let the processes continue."""
        for process in self._processes():
            process.send_signal(signal.SIGCONT)

    def _processes(self) -> list[psutil.Process]:
        return [self._browser, *self._browser.children(recursive=True)]

    async def _send(self, method: str, **params: Any) -> Any:
        """Send a command and return its result; events in between are ignored."""
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
    """A tab in its own browser, with `profile` as the browser's folder."""
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
