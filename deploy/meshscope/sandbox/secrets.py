"""The secret discovery server of one proxy: its certificate and the root it trusts.

The identity is that of the socket: whoever reaches it gets the workload's key. Envoy opens one
stream per secret.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from envoy.service.secret.v3 import sds_pb2_grpc

from meshscope.sandbox.certificates import Certificate

log = logging.getLogger(__name__)

WORKLOAD_SECRET = "default"  # noqa: S105 (a name that Istio fixed, not a password)
ROOT_SECRET = "ROOTCA"  # noqa: S105

_TYPE = f"type.googleapis.com/{Secret.DESCRIPTOR.full_name}"


def secrets(certificate: Certificate) -> dict[str, Secret]:
    """The secrets by which recorded listeners and clusters ask for a certificate."""
    workload = Secret(name=WORKLOAD_SECRET)
    workload.tls_certificate.certificate_chain.inline_bytes = certificate.chain
    workload.tls_certificate.private_key.inline_bytes = certificate.key
    root = Secret(name=ROOT_SECRET)
    root.validation_context.trusted_ca.inline_bytes = certificate.root
    return {secret.name: secret for secret in (workload, root)}


class SecretService(sds_pb2_grpc.SecretDiscoveryServiceServicer):  # type: ignore[misc]
    """The gRPC service that one proxy's `sds-grpc` cluster reaches."""

    def __init__(self, proxy: str, certificate: Certificate) -> None:
        self._proxy = proxy
        self._secrets = secrets(certificate)

    async def StreamSecrets(
        self, request_iterator: AsyncIterator[DiscoveryRequest], context: Any
    ) -> None:
        """Answers the first request of a stream; the ones after it acknowledge."""
        async for request in request_iterator:
            if request.HasField("error_detail"):
                log.error("%s rejects its secret: %s", self._proxy, request.error_detail.message)
            if request.response_nonce:
                continue
            unknown = set(request.resource_names) - set(self._secrets)
            if unknown:
                await context.abort(grpc.StatusCode.NOT_FOUND, f"no secret {sorted(unknown)}")
            response = DiscoveryResponse(version_info="1", nonce="1", type_url=_TYPE)
            for name in request.resource_names:
                response.resources.add().Pack(self._secrets[name])
            await context.write(response)
