"""The running sandbox: servers, applications, Envoys and traffic, and the commands that move it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import grpc.aio
from envoy.service.discovery.v3 import ads_pb2_grpc
from envoy.service.secret.v3 import sds_pb2_grpc

from meshscope.sandbox import declarations, preflight, protocol
from meshscope.sandbox.admin import Admin
from meshscope.sandbox.ads import Snapshot, XdsType
from meshscope.sandbox.applications import Applications
from meshscope.sandbox.certificates import Authority
from meshscope.sandbox.discovery import DiscoveryService, Session
from meshscope.sandbox.envoy import EnvoyProcess
from meshscope.sandbox.errors import CannotStart
from meshscope.sandbox.faults import WarmingCluster
from meshscope.sandbox.mesh import Mesh, ProxyState
from meshscope.sandbox.model import MeshIndex, Proxy, data_directory
from meshscope.sandbox.overlays import CART, Overlay
from meshscope.sandbox.paths import ProxyPaths, SandboxPaths
from meshscope.sandbox.recording import Recording
from meshscope.sandbox.secrets import SecretService
from meshscope.sandbox.serving import declared_files, describe, resources_for, transition
from meshscope.sandbox.traffic import Traffic, charge_token

log = logging.getLogger(__name__)

START_DEADLINE = 30.0
ANSWER_DEADLINE = 15.0
"""How long a command waits for Envoy's answer. A reconnecting Envoy backs off up to 2 s."""

POLL = 0.05
LOG_CHECK = 30.0
EJECTING_CLIENT = "frontend-1.shop"
"""Whose requests provoke the ejection of a host of the cart."""


@dataclass(slots=True)
class Sidecar:
    """The moving parts of one proxy."""

    proxy: Proxy
    session: Session
    envoy: EnvoyProcess
    admin: Admin


class Sandbox:
    """One sandbox in one directory. `start`, then `execute` commands, then `stop`."""

    def __init__(
        self, index: MeshIndex, recording: Recording, paths: SandboxPaths, state: str
    ) -> None:
        """Raises `CommandRefused` if there is no such state."""
        self._index = index
        self._recording = recording
        self._paths = paths
        self._mesh = Mesh.at(index.state(state).id, (proxy.proxy for proxy in index.proxies))
        self._sidecars: dict[str, Sidecar] = {}
        self._pushes = 0
        self._mutation = asyncio.Lock()
        self._traffic: Traffic | None = None
        self._cleanup = contextlib.AsyncExitStack()

    async def start(self, traffic: bool = True) -> None:
        """Starts everything and returns when every Envoy is LIVE.

        Raises:
            CannotStart: an address is taken, the directory is not usable, an Envoy does not run.
        """
        preflight.check_platform()
        lock = preflight.MachineLock()
        self._cleanup.callback(lock.release)
        preflight.prepare_directory(self._paths)
        preflight.check_addresses(self._index.addresses())
        self._publish()
        http = await self._cleanup.enter_async_context(aiohttp.ClientSession())
        await self._start_applications()
        await self._start_servers(http)
        for sidecar in self._sidecars.values():
            await sidecar.envoy.start()
        await self._wait_until_live()
        if traffic:
            tokens = json.loads((data_directory() / "keys" / "tokens.json").read_bytes())
            self._traffic = Traffic(self._index, charge_token(tokens), http)
            self._run_beside(self._traffic.run)
        self._run_beside(self._limit_logs)

    async def stop(self) -> None:
        """Ends everything that `start` started; also after a failed start."""
        # First all Envoys at once, then what serves them.
        await asyncio.gather(*(sidecar.envoy.stop() for sidecar in self._sidecars.values()))
        await self._cleanup.aclose()

    async def execute(self, command: protocol.Command) -> protocol.Status | protocol.MutationResult:
        """Carries out a command; a mutation returns when the proxies have answered.

        Raises:
            CommandRefused: the command does not apply; nothing was changed.
        """
        if isinstance(command, protocol.GetStatus):
            return await self._status()
        async with self._mutation:
            return await self._mutate(command)

    async def _mutate(self, command: protocol.Mutation) -> protocol.MutationResult:
        step = transition(self._mesh, command, self._index)
        self._pushes += 1
        # As istiod writes versions: when the push was made, and its number.
        version = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}/{self._pushes}"
        snapshots = {
            name: self._snapshot(version, self._sidecars[name].proxy, step.mesh.proxies[name])
            for name in step.pushes
            if not step.mesh.proxies[name].stale
        }
        self._mesh = step.mesh
        self._publish()
        for name, snapshot in snapshots.items():
            self._serve(self._sidecars[name], snapshot)
        pushes = await asyncio.gather(
            *(self._outcome(name, snapshots.get(name)) for name in step.pushes)
        )
        note = ""
        if command == protocol.SetOverlay(name=Overlay.OUTLIER.value, on=True):
            note = await self._provoke_ejection()
        return protocol.MutationResult(self._mesh.declared.state, list(pushes), note)

    def _snapshot(self, version: str, proxy: Proxy, state: ProxyState) -> Snapshot:
        return Snapshot.of(version, resources_for(self._recording, proxy, state))

    def _serve(self, sidecar: Sidecar, snapshot: Snapshot) -> None:
        if self._mesh.proxies[sidecar.proxy.proxy].disconnected:
            sidecar.session.snapshot = snapshot
            sidecar.session.disconnect()
        else:
            sidecar.session.accept()
            sidecar.session.push(snapshot)

    async def _outcome(self, name: str, snapshot: Snapshot | None) -> protocol.Push:
        state = self._mesh.proxies[name]
        sidecar = self._sidecars[name]
        if snapshot is None:
            return protocol.Push(name, sidecar.session.snapshot.version, note="stale: not sent")
        version = snapshot.version
        if state.disconnected:
            gone = await _within(ANSWER_DEADLINE, lambda: _is(not sidecar.session.connected))
            note = "disconnected" if gone else "still connected, which is a defect of the sandbox"
            return protocol.Push(name, version, note=note)
        warms = any(isinstance(fault, WarmingCluster) for fault in state.faults)
        unanswered = frozenset({XdsType.CDS} if warms else ())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_DEADLINE):
                await sidecar.session.delivered(version, unanswered)
        note = ""
        if warms and not await _within(ANSWER_DEADLINE, lambda: _is_warming(sidecar.admin)):
            note = "Envoy reports no warming cluster"
        progress = sidecar.session.progress(version)
        if progress is None:
            return protocol.Push(name, version, note="not connected: it gets this when it returns")
        return protocol.Push(
            name,
            version,
            accepted=[kind.short for kind in progress.accepted],
            rejected={kind.short: text for kind, text in progress.rejected.items()},
            unanswered=[kind.short for kind in progress.pending],
            note=note,
        )

    async def _provoke_ejection(self) -> str:
        """Makes the cart fail for one client until that client's Envoy ejects a host."""
        sidecar = self._sidecars[EJECTING_CLIENT]
        address = sidecar.proxy.outbound_address()
        headers = {"host": "cart.shop.svc.cluster.local", "x-app-status": "500"}

        async def ejected() -> bool:
            async with aiohttp.request("GET", f"http://{address}/cart", headers=headers) as answer:
                await answer.read()
            return bool(await sidecar.admin.ejected_hosts(CART))

        try:
            if await _within(ANSWER_DEADLINE, ejected):
                hosts = await sidecar.admin.ejected_hosts(CART)
                return f"{EJECTING_CLIENT} ejected {', '.join(hosts or [])} of {CART}"
        except aiohttp.ClientError as error:
            return f"no host was ejected: {EJECTING_CLIENT} does not answer: {error}"
        return f"no host was ejected: {EJECTING_CLIENT} saw no answer 500 from {CART}"

    async def _status(self) -> protocol.Status:
        mesh = self._mesh
        return protocol.Status(
            pid=os.getpid(),
            declared=mesh.declared.state,
            pushed=mesh.pushed.state,
            overlays=sorted(overlay.value for overlay in mesh.declared.overlays),
            resources=str(self._paths.resources),
            proxies=list(
                await asyncio.gather(
                    *(
                        self._proxy_status(sidecar, mesh.proxies[name])
                        for name, sidecar in self._sidecars.items()
                    )
                )
            ),
            traffic=dict(self._traffic.outcomes) if self._traffic else {},
        )

    async def _proxy_status(self, sidecar: Sidecar, state: ProxyState) -> protocol.ProxyStatus:
        types: dict[protocol.XdsName, protocol.TypeStatus] = {
            kind.short: protocol.TypeStatus(item.sent, item.accepted, item.answered, item.error)
            for kind, item in sidecar.session.subscriptions().items()
        }
        return protocol.ProxyStatus(
            proxy=sidecar.proxy.proxy,
            admin=str(sidecar.proxy.admin),
            state=await sidecar.admin.state() or "DOWN",
            pid=sidecar.envoy.pid,
            restarts=sidecar.envoy.restarts,
            connected=sidecar.session.connected,
            delivered=state.delivered.state,
            faults=describe(state),
            types=types,
        )

    async def _start_applications(self) -> None:
        applications = Applications(self._index)
        self._cleanup.push_async_callback(applications.stop)
        try:
            await applications.start()
        except OSError as error:
            raise CannotStart(f"an application cannot listen: {error}") from error

    async def _start_servers(self, http: aiohttp.ClientSession) -> None:
        authority = Authority(self._index.trust_domain)
        version = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}/0"
        for proxy in self._index.proxies:
            state = self._mesh.proxies[proxy.proxy]
            session = Session(proxy.proxy, self._snapshot(version, proxy, state))
            server = grpc.aio.server()
            ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(
                DiscoveryService(session), server
            )
            sds_pb2_grpc.add_SecretDiscoveryServiceServicer_to_server(
                SecretService(proxy.proxy, authority.issue(proxy.identity)), server
            )
            paths = self._paths.proxy(proxy.proxy)
            paths.directory.mkdir(mode=0o700)
            self._listen(server, paths)
            self._cleanup.push_async_callback(server.stop, None)
            await server.start()
            envoy = EnvoyProcess(proxy.proxy, paths, self._recording.bootstrap(proxy.proxy))
            admin = Admin(http, proxy.admin)
            self._sidecars[proxy.proxy] = Sidecar(proxy, session, envoy, admin)

    def _listen(self, server: grpc.aio.Server, paths: ProxyPaths) -> None:
        """Binds the server's sockets through a descriptor of their directory: a socket's path may
        not be longer than 107 bytes, however deep the sandbox lies."""
        directory = os.open(paths.directory, os.O_RDONLY | os.O_DIRECTORY)
        self._cleanup.callback(os.close, directory)
        for name in (paths.XDS_SOCKET, paths.SDS_SOCKET):
            server.add_insecure_port(f"unix:/proc/self/fd/{directory}/{name}")

    async def _wait_until_live(self) -> None:
        end = time.monotonic() + START_DEADLINE
        for name, sidecar in self._sidecars.items():
            while await sidecar.admin.state() != "LIVE":
                if sidecar.envoy.pid is None or sidecar.envoy.restarts:
                    raise CannotStart(f"Envoy of {name} ended:\n{sidecar.envoy.last_words()}")
                if time.monotonic() > end:
                    raise CannotStart(
                        f"Envoy of {name} is not LIVE after {START_DEADLINE:.0f} s; its log"
                        f" {self._paths.proxy(name).log} ends:\n{sidecar.envoy.last_words()}"
                    )
                await asyncio.sleep(POLL)

    def _publish(self) -> None:
        declarations.publish(
            self._paths.resources, declared_files(self._recording, self._mesh.declared)
        )

    def _run_beside(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs until the sandbox stops; a failure is logged, it is a defect."""

        async def guarded() -> None:
            try:
                await work()
            except Exception:
                log.exception("%s failed and is not restarted", work)

        task = asyncio.create_task(guarded())
        self._cleanup.push_async_callback(_end, task)

    async def _limit_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK)
            for sidecar in self._sidecars.values():
                sidecar.envoy.limit_logs()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _within(deadline: float, condition: Callable[[], Awaitable[bool]]) -> bool:
    """Whether a condition comes true before the deadline."""
    end = time.monotonic() + deadline
    while not await condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(POLL)
    return True


async def _is(value: bool) -> bool:
    return value


async def _is_warming(admin: Admin) -> bool:
    return bool(await admin.warming_clusters())
