"""The few questions that the sandbox asks Envoy's admin interface."""

from __future__ import annotations

from typing import Any

import aiohttp

from meshscope.sandbox.model import Address

TIMEOUT = aiohttp.ClientTimeout(total=2)


class Admin:
    """One Envoy's admin interface. Methods answer None where Envoy does not answer."""

    def __init__(self, http: aiohttp.ClientSession, address: Address) -> None:
        self._http = http
        self._base = f"http://{address}"

    async def state(self) -> str | None:
        """`LIVE`, `PRE_INITIALIZING`, `DRAINING`, …"""
        text = await self._get("/ready")
        return text.strip() if text is not None else None

    async def warming_clusters(self) -> int | None:
        """How many clusters wait for their endpoints."""
        text = await self._get("/stats?usedonly&filter=%5Ecluster_manager.warming_clusters$")
        if text is None:
            return None
        return int(text.rpartition(":")[2]) if text.strip() else 0

    async def ejected_hosts(self, cluster: str) -> list[str] | None:
        """Addresses that outlier detection took out of a cluster."""
        document = await self._json("/clusters?format=json")
        if document is None:
            return None
        hosts = [
            host
            for status in document.get("cluster_statuses", [])
            if status["name"] == cluster
            for host in status.get("host_statuses", [])
        ]
        ejected = []
        for host in hosts:
            if host.get("health_status", {}).get("failed_outlier_check"):
                socket = host["address"]["socket_address"]
                ejected.append(f"{socket['address']}:{socket['port_value']}")
        return ejected

    async def _get(self, path: str) -> str | None:
        try:
            async with self._http.get(f"{self._base}{path}", timeout=TIMEOUT) as response:
                return await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def _json(self, path: str) -> dict[str, Any] | None:
        try:
            async with self._http.get(f"{self._base}{path}", timeout=TIMEOUT) as response:
                document: dict[str, Any] = await response.json(content_type=None)
                return document
        except (aiohttp.ClientError, TimeoutError):
            return None
