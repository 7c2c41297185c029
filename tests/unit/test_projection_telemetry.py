"""Access logs, tracing and metrics by Telemetry and MeshConfig."""

from typing import Any

import pytest

from meshscope.events.resource import Resource
from meshscope.policy.telemetry import Metrics
from meshscope.projection.telemetry.access_logs import access_logs
from meshscope.projection.telemetry.metrics import metrics_filters
from meshscope.projection.telemetry.providers import UnmodelledProviderError, applicable
from meshscope.projection.telemetry.tracing import tracing

LOGGING = {"accessLogFile": "/dev/stdout"}
METRICS = {"defaultProviders": {"metrics": ["prometheus"]}}


def telemetry(
    name: str,
    namespace: str,
    selector: dict[str, str] | None = None,
    created: str | None = "2026-01-01T00:00:00Z",
) -> Resource:
    spec = {"selector": {"matchLabels": selector}} if selector else {}
    return Resource(
        "telemetry.istio.io",
        "v1",
        "Telemetry",
        namespace,
        name,
        created_at=created,
        body={"spec": spec},
    )


class TestApplicable:
    def names(self, *found: Resource) -> list[list[str]]:
        orders = applicable(found, namespace="shop", labels={"app": "web"}, root="root")
        return [[resource.name for resource in order] for order in orders]

    def test_from_the_widest_to_the_narrowest(self) -> None:
        assert self.names(
            telemetry("own", "shop", {"app": "web"}),
            telemetry("other", "shop", {"app": "db"}),
            telemetry("wide", "shop"),
            telemetry("mesh", "root"),
            telemetry("elsewhere", "bank"),
            telemetry("selecting-root", "root", {"app": "web"}),
        ) == [["mesh", "wide", "own"]]

    def test_unknown_ages_of_two_wide_ones_leave_both_open(self) -> None:
        found = self.names(
            telemetry("a", "shop", created=None), telemetry("b", "shop", created=None)
        )
        assert sorted(found) == [["a"], ["b"]]


class TestAccessLogs:
    def sinks(self, specs: list[dict[str, Any]], mesh: dict[str, Any]) -> list[tuple[str, str]]:
        logs, listener = access_logs(specs, mesh, "inbound")
        assert len(logs) == len(listener)
        return [(log.sink, log.filter) for log in logs]

    def test_mesh_config_alone(self) -> None:
        assert self.sinks([], LOGGING) == [("file:/dev/stdout", "")]
        assert self.sinks([], {}) == []

    def test_switching_off_a_provider_that_nobody_named_changes_nothing(self) -> None:
        spec = {"accessLogging": [{"disabled": True}]}
        assert self.sinks([spec], LOGGING) == [("file:/dev/stdout", "")]

    def test_switching_off_the_default_provider(self) -> None:
        mesh = {**LOGGING, "defaultProviders": {"accessLogging": ["envoy"]}}
        assert self.sinks([], mesh) == [("file:/dev/stdout", "")]
        assert self.sinks([{"accessLogging": [{"disabled": True}]}], mesh) == []

    def test_a_filter_is_a_condition(self) -> None:
        spec = {
            "accessLogging": [
                {"providers": [{"name": "envoy"}], "filter": {"expression": "response.code > 1"}}
            ]
        }
        ((_, condition),) = self.sinks([spec], LOGGING)
        assert '"expression":"response.code > 1"' in condition
        _, (listener,) = access_logs([spec], LOGGING, "inbound")
        assert listener.filter.startswith('{"and_filter":{"filters":[{"response_flag_filter"')

    def test_one_direction_only(self) -> None:
        spec = {"accessLogging": [{"providers": [{"name": "envoy"}], "match": {"mode": "CLIENT"}}]}
        assert len(access_logs([spec], {}, "outbound")[0]) == 1
        assert access_logs([spec], {}, "inbound") == ((), ())

    def test_a_text_ends_in_a_new_line(self) -> None:
        (log,), _ = access_logs([], {**LOGGING, "accessLogFormat": "%PROTOCOL%"}, "inbound")
        assert log.format == "%PROTOCOL%\n"

    def test_json(self) -> None:
        mesh = {**LOGGING, "accessLogEncoding": "JSON", "accessLogFormat": '{"b": 1, "a": "é"}'}
        (log,), _ = access_logs([], mesh, "inbound")
        assert log.format == '{"a":"é","b":1}'

    @pytest.mark.parametrize(
        ("provider", "sink", "layout"),
        [
            ({"path": "/x", "logFormat": {"text": "%PROTOCOL%"}}, "file:/x", "%PROTOCOL%\n"),
            (
                {"logFormat": {"labels": {"b": "2", "a": "1"}}},
                "file:/dev/stdout",
                '{"a":"1","b":"2"}',
            ),
        ],
    )
    def test_a_file_of_its_own(self, provider: dict[str, Any], sink: str, layout: str) -> None:
        mesh = {
            "extensionProviders": [{"name": "own", "envoyFileAccessLog": provider}],
            "defaultProviders": {"accessLogging": ["own"]},
        }
        ((log,), _) = access_logs([], mesh, "inbound")
        assert (log.sink, log.format) == (sink, layout)

    def test_a_json_format_that_is_none_is_istios(self) -> None:
        mesh = {**LOGGING, "accessLogEncoding": "JSON", "accessLogFormat": "{"}
        (log,), _ = access_logs([], mesh, "inbound")
        assert '"start_time":"%START_TIME%"' in log.format

    def test_a_listener_can_be_silent(self) -> None:
        logs, listener = access_logs([], {**LOGGING, "disableEnvoyListenerLog": True}, "inbound")
        assert (len(logs), listener) == (1, ())

    def test_a_service_that_gets_logs_is_not_modelled(self) -> None:
        mesh = {
            "extensionProviders": [{"name": "als", "envoyTcpAls": {"service": "als", "port": 1}}],
            "defaultProviders": {"accessLogging": ["als"]},
        }
        with pytest.raises(UnmodelledProviderError, match="als"):
            access_logs([], mesh, "inbound")


class TestMetrics:
    def test_there_are_none_without_a_provider(self) -> None:
        assert metrics_filters([], {}, "inbound") == ()

    def test_the_default_provider(self) -> None:
        assert metrics_filters([], METRICS, "inbound") == (Metrics(True, ""),)
        assert metrics_filters([], METRICS, "outbound") == (Metrics(False, ""),)

    def test_all_metrics_of_one_direction_switched_off(self) -> None:
        override = {"match": {"metric": "ALL_METRICS", "mode": "CLIENT"}, "disabled": True}
        spec = {"metrics": [{"providers": [{"name": "prometheus"}], "overrides": [override]}]}
        assert metrics_filters([spec], METRICS, "outbound") == ()
        assert metrics_filters([spec], METRICS, "inbound") == (Metrics(True, ""),)

    def test_a_later_override_brings_metrics_back(self) -> None:
        off = {"metrics": [{"overrides": [{"disabled": True}]}]}
        on = {
            "metrics": [{"overrides": [{"match": {"metric": "REQUEST_SIZE"}, "disabled": False}]}]
        }
        assert metrics_filters([off], METRICS, "inbound") == ()
        (metrics,) = metrics_filters([off, on], METRICS, "inbound")
        assert metrics.settings == '{"metrics":[{"name":"request_bytes"}]}'

    def test_only_the_narrowest_providers_count(self) -> None:
        mesh = {
            **METRICS,
            "extensionProviders": [{"name": "other", "prometheus": {}}],
        }
        wide = {
            "metrics": [{"overrides": [{"match": {"metric": "REQUEST_SIZE"}, "disabled": True}]}]
        }
        narrow = {"metrics": [{"providers": [{"name": "other"}], "reportingInterval": "5s"}]}
        (metrics,) = metrics_filters([wide, narrow], mesh, "inbound")
        assert metrics.settings == '{"tcp_reporting_duration":"5s"}'

    def test_dimensions_and_dropped_metrics(self) -> None:
        tags = {"a": {"value": "request.host"}, "b": {"operation": "REMOVE"}}
        spec = {
            "metrics": [
                {
                    "overrides": [
                        {"match": {"metric": "REQUEST_COUNT"}, "tagOverrides": tags},
                        {"match": {"metric": "REQUEST_SIZE"}, "disabled": True},
                    ]
                }
            ]
        }
        (metrics,) = metrics_filters([spec], METRICS, "inbound")
        assert metrics.settings == (
            '{"metrics":[{"dimensions":{"a":"request.host"},"name":"requests_total",'
            '"tags_to_remove":["b"]},{"drop":true,"name":"request_bytes"}]}'
        )


class TestTracing:
    def test_spans_without_a_provider_carry_the_identity(self) -> None:
        found = tracing([], {}, {}, "inbound")
        assert found is not None
        assert found.random_percent == 100
        assert "istio.namespace=$self.namespace" in found.tags

    def test_switched_off_in_the_mesh(self) -> None:
        assert tracing([], {"enableTracing": False}, {}, "inbound") is None

    def test_any_telemetry_about_tracing_needs_a_provider(self) -> None:
        spec = {"tracing": [{"randomSamplingPercentage": 5}]}
        assert tracing([spec], {}, {}, "inbound") is None

    def test_a_provider_is_not_modelled_unless_reporting_is_off(self) -> None:
        mesh = {"extensionProviders": [{"name": "z", "zipkin": {"service": "z", "port": 1}}]}
        spec = {"tracing": [{"providers": [{"name": "z"}]}]}
        with pytest.raises(UnmodelledProviderError, match="'z'"):
            tracing([spec], mesh, {}, "inbound")
        off = {"tracing": [{"disableSpanReporting": True, "match": {"mode": "SERVER"}}]}
        assert tracing([spec, off], mesh, {}, "inbound") is None
        with pytest.raises(UnmodelledProviderError):
            tracing([spec, off], mesh, {}, "outbound")

    def test_tags_of_the_proxy(self) -> None:
        tags = {"e": {"environment": {"name": "N"}}, "l": {"literal": {"value": "v"}}}
        own = {"tracing": {"enableIstioTags": False, "sampling": 1000, "customTags": tags}}
        found = tracing([], {}, own, "outbound")
        assert found is not None
        assert (found.random_percent, found.tags) == (100, ("e=environment:N:", "l=v"))

    def test_the_proxy_decides_about_sampling_and_tags(self) -> None:
        own = {
            "tracing": {
                "sampling": 12.5,
                "enableIstioTags": False,
                "customTags": {"h": {"header": {"name": "x", "defaultValue": "d"}}},
            }
        }
        found = tracing([], {}, own, "outbound")
        assert found is not None
        assert (found.random_percent, found.tags) == (1_250, ("h=header:x:d",))
