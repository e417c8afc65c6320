"""Invocations of workflows, performed by a region."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from einthoven.functions import encode
from einthoven.runtime.conducting import FunctionUnknown, InvocationBroke, inputs_of
from einthoven.runtime.hosted import FUSED, Fused
from einthoven.runtime.region_port import Call, RegionPort
from einthoven.workflow import Invoke
from einthoven.workflow.answers import what_is_wrong

__all__ = ["RegionInvoker"]


class RegionInvoker:
    """An invoker (`einthoven.runtime.conducting.Elsewhere`) that calls one region.

    Inputs travel as JSON, which is what values of workflows are. Fused functions are one call, or
    one after the other where nobody takes them so. Values that are passed by reference are for
    `einthoven.runtime.conducting.ByReference` around it.

    Parameters
    ----------
    timeout_s : for each attempt, unless the workflow's own limit ends it before.
    more : inputs that functions of some types get besides, by their type.
    """

    def __init__(
        self, port: RegionPort, timeout_s: float, more: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    ) -> None:
        self._port = port
        self._more = more
        self._timeout_s = timeout_s

    async def invoke(self, invoke: Invoke) -> Any:
        """See `einthoven.runtime.conducting.Invoker`."""
        if not invoke.stages:
            return await self._called(invoke.type, self._content(invoke), invoke.key)
        try:
            function = FUSED.join(stage.type for stage in invoke.stages)
            return await self._called(function, self._content(invoke), invoke.key)
        except FunctionUnknown:
            return await self._apart(invoke)

    async def _apart(self, invoke: Invoke) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for stage in invoke.stages:
            sent = inputs_of(stage, invoke.inputs, given) | dict(self._more.get(stage.type, {}))
            key = f"{invoke.key}/{stage.name}"
            reply = await self._called(stage.type, msgspec.json.encode(sent), key)
            wrong = what_is_wrong(reply, stage.outputs)
            if wrong is not None:
                raise InvocationBroke(wrong[0], f"{stage.name}: {wrong[1]}")
            given.update((f"{stage.name}/{port}", reply[port]) for port, _ in stage.outputs)
        leaving = (f"{stage.name}/{port}" for stage in invoke.stages for port in stage.leaving)
        return {name: given[name] for name in leaving}

    async def _called(self, function: str, content: bytes, key: str) -> Any:
        call = Call(function=function, content=content, encoding="json", key=key, timeout_s=self._timeout_s)
        answer = await self._port.invoke(call)
        try:
            return msgspec.json.decode(answer.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvocationBroke("reply", "the region did not answer with JSON") from None

    async def close(self) -> None:
        """Close the region."""
        await self._port.close()

    def _content(self, invoke: Invoke) -> bytes:
        if not invoke.stages:
            return msgspec.json.encode({**invoke.inputs, **self._more.get(invoke.type, {})})
        stages, inputs = [], dict(invoke.inputs)
        for stage in invoke.stages:
            more = self._more.get(stage.type, {})
            inputs |= {f"{stage.name}/{port}": value for port, value in more.items()}
            handed = (*stage.inputs, *((port, None) for port in more))
            stages.append(msgspec.structs.replace(stage, inputs=handed))
        return encode(Fused(stages=tuple(stages), inputs=inputs), "json")
