"""Headers of the anomalies topic: CloudEvents 1.0, Kafka protocol binding, binary mode."""

from datetime import UTC, datetime
from typing import Final

from meshscope.events.facts import Anomaly

SOURCE: Final = "/meshscope/anomalies"


def headers(anomaly: Anomaly) -> list[tuple[str, bytes]]:
    """The headers of an anomaly's record."""
    time = datetime.fromtimestamp(anomaly.updated_at / 1000, UTC)
    attributes = {
        "ce_specversion": "1.0",
        "ce_type": f"io.meshscope.anomaly.{anomaly.status}",
        "ce_source": f"{SOURCE}/{anomaly.cluster}",
        "ce_id": anomaly.id,
        "ce_time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "ce_subject": anomaly.fingerprint,
        "content-type": "avro/binary",
    }
    return [(name, value.encode()) for name, value in attributes.items()]
