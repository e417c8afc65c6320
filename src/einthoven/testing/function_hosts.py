"""Hosts of functions for tests: the check of any of them, `check_function_host`, and a real one in a thread.

::

    @pytest.mark.parametrize("check", HOST_CHECKS, ids=lambda check: check.__name__)
    def test_my_functions_keep_the_contract(check):
        check_function_host("http://127.0.0.1:8126", check)
"""

import asyncio
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from einthoven.clock import SystemClock
from einthoven.runtime.hosted import Hosted
from einthoven.runtime.worker_pool import WorkerPool
from einthoven.server.function_checks import HOST_CHECKS, CheckSkipped, HostCheck, host_under_test
from einthoven.server.function_host import FunctionHost, in_workers
from einthoven.server.function_serving import host_config, listen_for_calls

__all__ = ["HOST_CHECKS", "a_host", "check_function_host", "serving_host"]


@contextmanager
def serving_host(host: FunctionHost, tls: tuple[str, str] | None = None) -> Iterator[str]:
    """A host's URL on a real socket, while the block runs.

    Parameters
    ----------
    tls : files of a certificate and its key.
    """
    server = uvicorn.Server(host_config(host, tls))
    with listen_for_calls("127.0.0.1", 0) as accepting:
        port = accepting.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [accepting]})
        thread.start()
        try:
            yield f"http{'' if tls is None else 's'}://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def a_host(hosted: Hosted = Hosted()) -> Iterator[str]:  # noqa: B008 - frozen
    """The URL of a host of our functions that anybody may call, while the block runs."""
    workers = WorkerPool(1)
    try:
        with serving_host(FunctionHost(hosted, in_workers(hosted, workers), SystemClock())) as url:
            yield url
    finally:
        workers.close()


def check_function_host(address: str, check: HostCheck, token: str | None = None) -> None:
    """Make one of `HOST_CHECKS` on a host that runs.

    Raises
    ------
    AssertionError : the host does not keep what the check promises.
    unittest.SkipTest : there is nothing to check.
    """
    asyncio.run(_checked(address, check, token))


async def _checked(address: str, check: HostCheck, token: str | None) -> None:
    async with host_under_test(address, token) as host:
        try:
            await check(host)
        except CheckSkipped as why:
            raise unittest.SkipTest(str(why)) from None
