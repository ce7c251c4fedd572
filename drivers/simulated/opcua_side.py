"""The simulated plant's OPC UA server: line speed, coil and mill load, under namespace index 2.

`Box.Verdict` (UInt16) is there for a box that writes its verdicts over OPC UA.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC

from asyncua import ua
from asyncua.server.server import Server

from drivers.simulated.line import Line

_NAMESPACE = "urn:alumiguard:simulated-plant"
_UPDATE_SECONDS = 0.1


class OpcUaSide:
    """The server. Its nodes are ns=2;s=Line.Speed (m/min), ns=2;s=Line.CoilId and ns=2;s=Mill.Load (kN)."""

    def __init__(self, line: Line) -> None:
        self._line = line

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[int]:
        """Serve on 127.0.0.1, without security; yields the port, which is chosen by the system for 0."""
        server = Server()
        await server.init()
        server.set_server_name("AlumiGuard simulated plant")
        server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        nodes = await _make_nodes(server)
        async with server, asyncio.TaskGroup() as group:
            update = group.create_task(self._keep_updating(server, nodes))
            yield server.bserver.port if server.bserver is not None else port
            update.cancel()

    async def _keep_updating(self, server: Server, nodes: dict[str, ua.NodeId]) -> None:
        last_coil = ""
        while True:
            seconds = self._line.seconds()
            now = ua.DateTime.now(UTC)
            values: dict[str, float | str] = {
                "Line.Speed": self._line.speed_m_per_s(seconds) * 60,
                "Mill.Load": self._line.mill_load_kn(seconds),
            }
            if (coil := self._line.coil_id(seconds)) != last_coil:
                values["Line.CoilId"] = last_coil = coil
            for name, value in values.items():
                kind = ua.VariantType.String if isinstance(value, str) else ua.VariantType.Double
                data = ua.DataValue(ua.Variant(value, kind), SourceTimestamp=now, ServerTimestamp=now)
                await server.write_attribute_value(nodes[name], data)
            await asyncio.sleep(_UPDATE_SECONDS)


async def _make_nodes(server: Server) -> dict[str, ua.NodeId]:
    index = await server.register_namespace(_NAMESPACE)
    nodes = {}
    first: dict[str, dict[str, float | str]]
    first = {"Line": {"Speed": 0.0, "CoilId": ""}, "Mill": {"Load": 0.0}}
    for folder, variables in first.items():
        parent = await server.nodes.objects.add_object(_node_id(folder, index), folder)
        for name, value in variables.items():
            node_id = _node_id(f"{folder}.{name}", index)
            await parent.add_variable(node_id, name, value)
            nodes[f"{folder}.{name}"] = node_id
    box = await server.nodes.objects.add_object(_node_id("Box", index), "Box")
    verdict = await box.add_variable(_node_id("Box.Verdict", index), "Verdict", 0, ua.VariantType.UInt16)
    await verdict.set_writable()
    return nodes


def _node_id(name: str, index: int) -> ua.NodeId:
    return ua.NodeId(ua.String(name), ua.Int16(index))
